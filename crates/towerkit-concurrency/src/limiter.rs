use std::task::Waker;

use crate::{
    classes::{ClassIndex, PriorityClasses},
    fraction::Fraction,
    partitions::{Partitions, PermitOrigin},
    permits::{PermitState, Permits},
    queue::Queue,
    sync::{Mutex, MutexGuard, lock},
    wait_queue::{Pushed, WaitError, WaitQueue, WaiterKey},
};

/// Admits calls up to the limit, and queues the calls above it.
///
/// # No lost wake-up
///
/// A call starts to wait in three steps: it enters the [`WaitQueue`], sets the waiting flag of [`Permits`], and serves the queue with
/// the permits that are free. A call that ends decrements the count and reads the flag in one step, because both are in one word. If
/// it ends after the flag was set, it serves the queue itself; if it ends before, the third step finds its permit. While the flag is
/// set, calls are admitted through the queue only.
///
/// The queue has a lock. It is taken by calls that wait, by calls that end while others wait, and by calls that arrive while others
/// wait. Wakers are called and dropped after the lock is released.
pub(crate) struct Limiter {
    permits: Permits,
    ceilings: [Fraction; 3],
    partitions: Option<Partitions>,
    queue: Option<Mutex<WaitQueue<PermitOrigin, Waker>>>,
}

/// The result of [`Limiter::enqueue`].
pub(crate) enum Enqueued {
    /// A permit became free in the meantime.
    Admitted(PermitOrigin),
    /// The call waits.
    Waiting { key: WaiterKey, expires: u64 },
    /// The queue is full.
    Full,
}

impl Limiter {
    pub(crate) fn new(limit: u32, classes: &PriorityClasses, queue: Option<Queue>) -> Self {
        let partitions = classes.shares().len() + 1;
        Self {
            permits: Permits::new(limit),
            ceilings: classes.ceiling_of_each(),
            partitions: Partitions::new(classes),
            queue: queue.map(|options| Mutex::new(WaitQueue::new(options, partitions))),
        }
    }

    pub(crate) fn state(&self) -> PermitState {
        self.permits.state()
    }

    /// Returns the number of waiting calls.
    pub(crate) fn waiting(&self) -> u32 {
        self.queue.as_ref().map_or(0, |queue| lock(queue).len())
    }

    /// Returns true if admission depends on the time.
    pub(crate) fn is_partitioned(&self) -> bool {
        self.partitions.is_some()
    }

    /// Takes a permit if one is free and no call waits; for a limit without classes.
    #[inline(always)]
    pub(crate) fn try_acquire(&self) -> bool {
        self.permits.try_acquire()
    }

    /// Takes a permit if one is free for calls of this class; fails while other calls wait, unless `skip_queue` is set.
    pub(crate) fn try_acquire_as(
        &self,
        class: ClassIndex,
        now: u64,
        skip_queue: bool,
    ) -> Option<PermitOrigin> {
        let ceiling = self.ceilings[class.priority as usize];
        let Some(partitions) = &self.partitions else {
            let acquired = self.permits.try_acquire_below(ceiling, skip_queue);
            return acquired.then_some(Partitions::NONE);
        };
        let origin = partitions.try_acquire(class.partition, self.state().limit(), now)?;
        if self.permits.try_acquire_below(ceiling, skip_queue) {
            return Some(origin);
        }
        partitions.release(origin);
        if !skip_queue && self.state().is_waiting() {
            // Another thread may have served the queue, and missed a waiter of this partition, while the permit was taken.
            self.serve_queue(now);
        }
        None
    }

    /// Releases a permit, and returns the state from before. If a call waits, the caller must [serve the queue](Self::serve_queue).
    #[inline(always)]
    pub(crate) fn release(&self, origin: PermitOrigin) -> PermitState {
        if origin != Partitions::NONE
            && let Some(partitions) = &self.partitions
        {
            partitions.release(origin);
        }
        self.permits.release()
    }

    /// Sets the limit, and returns true if a call waits. Calls in flight continue, even above the new limit.
    pub(crate) fn set_limit(&self, limit: u32) -> bool {
        self.permits.set_limit(limit).is_waiting()
    }

    /// Admits waiting calls to the free permits, rejects expired calls, and wakes both.
    pub(crate) fn serve_queue(&self, now: u64) {
        let Some(queue) = &self.queue else { return };
        loop {
            let mut queue = lock(queue);
            let Some(waker) = self.resolve_next(&mut queue, now) else {
                return;
            };
            self.unlock(queue);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Adds a call to the queue that found no free permit.
    pub(crate) fn enqueue(&self, class: ClassIndex, max_wait: u64, now: u64) -> Enqueued {
        let Some(queue) = &self.queue else {
            return Enqueued::Full;
        };
        let pushed = {
            let mut queue = lock(queue);
            let pushed = queue.push(class, max_wait, now);
            if pushed.is_some() {
                self.permits.set_waiting();
            }
            pushed
        };
        let Some(Pushed {
            key,
            expires,
            evicted,
        }) = pushed
        else {
            return Enqueued::Full;
        };
        evicted.into_iter().for_each(Waker::wake);
        self.serve_queue(now);
        match self.poll_waiter(key, None) {
            Some(Ok(origin)) => Enqueued::Admitted(origin),
            Some(Err(_)) => Enqueued::Full,
            None => Enqueued::Waiting { key, expires },
        }
    }

    /// Returns the result of a waiting call and frees its key, or stores `waker` and returns [`None`].
    pub(crate) fn poll_waiter(
        &self,
        key: WaiterKey,
        waker: Option<&Waker>,
    ) -> Option<Result<PermitOrigin, WaitError>> {
        let new = waker.cloned();
        let mut queue = lock(self.queue.as_ref()?);
        if queue.is_resolved(key) {
            let (result, old) = queue.remove(key);
            drop(queue);
            drop((new, old));
            return result;
        }
        let old = new.and_then(|new| queue.set_waker(key, new));
        drop(queue);
        drop(old);
        None
    }

    /// Removes a call that stops waiting. If it had been admitted, its permit passes to the next waiter, and true is returned.
    pub(crate) fn cancel_waiter(&self, key: WaiterKey, now: impl FnOnce() -> u64) -> bool {
        let Some(queue) = &self.queue else {
            return false;
        };
        let mut queue = lock(queue);
        let (result, waker) = queue.remove(key);
        self.unlock(queue);
        drop(waker);
        let Some(Ok(origin)) = result else {
            return false;
        };
        if self.release(origin).is_waiting() {
            self.serve_queue(now());
        }
        true
    }

    /// Resolves the first waiting call that expired or gets a permit, and returns its waker.
    fn resolve_next(
        &self,
        queue: &mut WaitQueue<PermitOrigin, Waker>,
        now: u64,
    ) -> Option<Option<Waker>> {
        let mut tried = 0;
        while let Some(class) = queue.next_class(tried) {
            tried += 1;
            let Some(key) = queue.front(class, now) else {
                continue;
            };
            if queue.is_expired(key, now) {
                return Some(queue.resolve(key, Err(WaitError::Expired)));
            }
            if let Some(origin) = self.try_acquire_as(class, now, true) {
                return Some(queue.resolve(key, Ok(origin)));
            }
        }
        None
    }

    /// Releases the lock, after clearing the waiting flag if the queue is empty.
    fn unlock(&self, queue: MutexGuard<'_, WaitQueue<PermitOrigin, Waker>>) {
        if queue.len() == 0 {
            self.permits.clear_waiting();
        }
        drop(queue);
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_waiting_flag_is_set_while_a_call_waits() {
        let queue = Queue::new(2, Duration::from_secs(1)).unwrap();
        let limiter = Limiter::new(1, &PriorityClasses::new(), Some(queue));
        assert!(limiter.try_acquire() && !limiter.state().is_waiting());
        let Enqueued::Waiting { key, .. } = limiter.enqueue(ClassIndex::SINGLE, u64::MAX, 0) else {
            panic!("the limit is full");
        };
        assert!(limiter.state().is_waiting());
        limiter.cancel_waiter(key, || 0);
        assert!(!limiter.state().is_waiting());
    }
}
