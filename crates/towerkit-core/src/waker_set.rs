use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::{
    Backpressure,
    sync::{Arc, AtomicUsize, Mutex, Ordering, fence, lock},
};

/// The services that wait until a guard admits calls again, for [`Guard::backpressure`](crate::Guard::backpressure).
///
/// A guard has one set. It returns [`backpressure_while`](Self::backpressure_while) it would reject calls, and calls
/// [`wake_all`](Self::wake_all) after each change by which it may admit calls again. No wake-up is lost: a service that begins to
/// wait either sees the change or is woken. `wake_all` takes no lock if no service waits.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
/// use tower::{Layer, ServiceExt};
/// use towerkit_core::{
///     Backpressure, BoxError, Call, CallEnd, Guard, Policy, RejectionReason, Rejection, WakerSet, guard,
/// };
///
/// #[derive(Default)]
/// struct Switch { is_off: AtomicBool, waiting: WakerSet }
///
/// impl Switch {
///     fn turn_on(&self) {
///         self.is_off.store(false, Ordering::Release);
///         self.waiting.wake_all();
///     }
/// }
///
/// impl Policy for Switch {
///     type CallState = ();
///     const NEEDS_END: bool = false;
///     fn finish(&self, _state: (), _end: &CallEnd) {}
/// }
///
/// impl<Req> Guard<Req> for Switch {
///     fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
///         match self.is_off.load(Ordering::Acquire) {
///             true => Err(Rejection::new(RejectionReason::Unavailable, "switch")),
///             false => Ok(()),
///         }
///     }
///
///     fn backpressure(&self) -> Option<Backpressure> {
///         self.waiting.backpressure_while(|| self.is_off.load(Ordering::Acquire))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let switch = Arc::new(Switch::default());
/// switch.is_off.store(true, Ordering::Release);
/// let service = tower::service_fn(|n: u32| async move { Ok::<_, BoxError>(n) });
/// let service = guard(switch.clone()).layer(service);
///
/// let (answer, ()) = tokio::join!(service.oneshot(7), async { switch.turn_on() });
/// assert_eq!(answer.unwrap(), 7);
/// # });
/// ```
#[derive(Clone)]
pub struct WakerSet(Arc<Shared>);

struct Shared {
    /// The number of services that the next [`WakerSet::wake_all`] has to wake. Written under the lock, read without it.
    waiting: AtomicUsize,
    round: Mutex<Round>,
}

/// The services that have begun to wait since the last [`WakerSet::wake_all`].
#[derive(Default)]
struct Round {
    number: u64,
    /// `None` for a free slot, and for a service that was not polled yet.
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl WakerSet {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            waiting: AtomicUsize::new(0),
            round: Mutex::new(Round::default()),
        }))
    }

    /// Wakes all services that wait. Call it after a change by which the guard may admit calls again.
    #[inline]
    pub fn wake_all(&self) {
        // With the fence in `notified`: either this load sees the service that waits, or that service sees the change.
        fence(Ordering::SeqCst);
        if self.0.waiting.load(Ordering::Relaxed) != 0 {
            self.wake_round();
        }
    }

    #[cold]
    fn wake_round(&self) {
        let wakers = {
            let mut round = lock(&self.0.round);
            self.0.waiting.store(0, Ordering::Relaxed);
            round.number += 1;
            round.free.clear();
            mem::take(&mut round.wakers)
        };
        // Outside of the lock: a waker may run any code.
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Begins to wait: the future resolves at the next [`wake_all`](Self::wake_all).
    ///
    /// Check the state again after this call, as [`backpressure_while`](Self::backpressure_while) does.
    pub fn notified(&self) -> Notified {
        let mut round = lock(&self.0.round);
        let slot = round.free.pop().unwrap_or(round.wakers.len());
        if slot == round.wakers.len() {
            round.wakers.push(None);
        }
        let notified = Notified {
            set: self.clone(),
            round: round.number,
            slot: Some(slot),
        };
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        drop(round);
        // See `wake_all`.
        fence(Ordering::SeqCst);
        notified
    }

    /// Returns a wait for the next [`wake_all`](Self::wake_all), if `rejects` is true.
    ///
    /// Calls `rejects` before and after it begins to wait, so that it misses no change in between.
    #[inline]
    pub fn backpressure_while(&self, rejects: impl Fn() -> bool) -> Option<Backpressure> {
        if !rejects() {
            return None;
        }
        let notified = self.notified();
        rejects().then(|| Backpressure::new(notified))
    }
}

impl Default for WakerSet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WakerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.0.waiting.load(Ordering::Relaxed);
        f.debug_struct("WakerSet")
            .field("waiting", &waiting)
            .finish()
    }
}

/// A future that resolves at the next [`WakerSet::wake_all`]. Dropping it removes it from the set.
#[doc(hidden)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Notified {
    set: WakerSet,
    round: u64,
    /// The slot of its waker, until it is woken.
    slot: Option<usize>,
}

impl Future for Notified {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(slot) = self.slot else {
            return Poll::Ready(());
        };
        let mut round = lock(&self.set.0.round);
        if round.number != self.round {
            drop(round);
            self.slot = None;
            return Poll::Ready(());
        }
        let waker = &mut round.wakers[slot];
        if waker.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let old = waker.replace(cx.waker().clone());
        drop(round);
        // Outside of the lock: the drop may free a task that waits in this set, too.
        drop(old);
        Poll::Pending
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        let Some(slot) = self.slot else {
            return;
        };
        let waker = {
            let mut round = lock(&self.set.0.round);
            if round.number != self.round {
                return;
            }
            self.set.0.waiting.fetch_sub(1, Ordering::Relaxed);
            round.free.push(slot);
            round.wakers[slot].take()
        };
        drop(waker);
    }
}

impl fmt::Debug for Notified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified")
            .field("is_woken", &self.slot.is_none())
            .finish()
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn one_that_goes_away_is_forgotten_and_leaves_its_slot() {
        let set = WakerSet::new();
        let stays = set.notified();
        for _ in 0..100 {
            let mut goes = pin!(set.notified());
            let mut cx = Context::from_waker(Waker::noop());
            assert!(goes.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(set.0.waiting.load(Ordering::Relaxed), 1);
        assert_eq!(lock(&set.0.round).wakers.len(), 2);
        set.wake_all();
        drop(stays);
        assert_eq!(set.0.waiting.load(Ordering::Relaxed), 0);
    }
}
