use std::{task::Waker, time::Duration};

use super::wait_queue::WaitQueue;
use crate::{
    Quota,
    config::AdmittedCall,
    gcra::Gcra,
    sync::{Mutex, lock},
    token_bucket::TokenBucket,
};

/// A [`TokenBucket`], and the [`WaitQueue`] of the calls that wait for its tokens.
#[derive(Debug)]
pub(crate) struct QueuedBucket {
    bucket: TokenBucket,
    /// Not locked by a call that finds its tokens in the bucket.
    queue: Mutex<WaitQueue<Waker>>,
}

/// The limits of the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    /// The longest time that a call may wait.
    pub(crate) max_wait: Duration,
    /// The number of calls that may wait at the same time.
    pub(crate) max_len: usize,
}

/// The result of [`QueuedBucket::enqueue`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Enqueued {
    /// The tokens are there by now, and taken.
    Admitted,
    /// The call waits, with this ticket.
    Waiting(u64),
    /// The wait would be too long, or the queue is full. After this time it may be different.
    Rejected(Duration),
}

impl QueuedBucket {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            bucket: TokenBucket::new(quota),
            queue: Mutex::new(WaitQueue::new()),
        }
    }

    pub(crate) fn bucket(&self) -> &TokenBucket {
        &self.bucket
    }

    /// Enqueues a call, unless it would wait longer than `max_wait` or than the limits allow.
    pub(crate) fn enqueue(
        &self,
        now: u64,
        cost: u32,
        limits: QueueLimits,
        max_wait: Duration,
    ) -> Enqueued {
        let units = Gcra::units(now);
        let mut queue = lock(&self.queue);
        let wakers = self.advance(&mut queue, units, None);
        let max_wait = limits.max_wait.min(max_wait);
        let is_full = queue.len() >= limits.max_len;
        // Reserve the tokens behind all calls that wait, if the call may wait for them.
        let mut reservation = None;
        let mut wait = Duration::ZERO;
        self.bucket.rewrite(|word, gcra| {
            let found = queue.reserve(word.max(units).into(), gcra, cost);
            wait = duration_until(found.due, units);
            let fits = wait.is_zero() || (wait <= max_wait && !is_full);
            reservation = fits.then_some(found);
            reservation.map_or(word, |reservation| unsigned(reservation.word))
        });
        let enqueued = match reservation {
            None if is_full => Enqueued::Rejected(self.until_first_leaves(&queue, units)),
            None => Enqueued::Rejected(wait - max_wait),
            Some(_) if wait.is_zero() => Enqueued::Admitted,
            Some(reservation) => Enqueued::Waiting(queue.push(reservation)),
        };
        drop(queue);
        wake_all(wakers);
        enqueued
    }

    /// Admits all calls that are due, and returns the time until this one is; `None` if it is admitted.
    pub(crate) fn poll_ticket(&self, ticket: u64, now: u64, waker: &Waker) -> Option<Duration> {
        let units = Gcra::units(now);
        let mut queue = lock(&self.queue);
        let wakers = self.advance(&mut queue, units, Some(ticket));
        let (_, gcra) = self.bucket.read();
        let due = queue.register(ticket, units.into(), gcra, waker.clone());
        drop(queue);
        wake_all(wakers);
        due.map(|due| duration_until(due, units))
    }

    /// Removes a call that gives up, while it waits or after it was admitted without having noticed.
    pub(crate) fn leave(&self, ticket: u64, cost: u32, now: u64) {
        let units = Gcra::units(now);
        let mut queue = lock(&self.queue);
        let (_, gcra) = self.bucket.read();
        if let Some(refund) = queue.remove(ticket, cost, units.into(), gcra) {
            self.bucket
                .rewrite(|word, _| unsigned(i128::from(word) - refund));
        }
        let wakers = self.advance(&mut queue, units, None);
        drop(queue);
        wake_all(wakers);
    }

    /// Takes tokens that are already spent, down to a debt of one burst behind the calls that wait.
    pub(crate) fn charge(&self, now: u64, cost: u32) {
        let units = Gcra::units(now);
        let queue = lock(&self.queue);
        self.bucket.rewrite(|word, gcra| {
            let word = word.max(units);
            let empty = units + gcra.burst_tolerance;
            let reserved = queue.word(gcra).map_or(empty, unsigned).max(empty);
            let most = reserved + gcra.burst_tolerance;
            let price = gcra.emission_interval.saturating_mul(cost.into());
            word.saturating_add(price).min(most).max(word)
        });
    }

    pub(crate) fn set_quota(&self, quota: Quota, now: u64) {
        let units = Gcra::units(now);
        let mut queue = lock(&self.queue);
        let mut wakers = self.advance(&mut queue, units, None);
        let (_, old) = self.bucket.read();
        self.bucket.set_quota(quota, now);
        let (word, new) = self.bucket.read();
        queue.convert(word.into(), old, new);
        wakers.extend(self.advance(&mut queue, units, None));
        drop(queue);
        wake_all(wakers);
    }

    /// Returns the number of calls that wait.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.queue).len()
    }

    /// Returns the state of the bucket after a call took from it.
    pub(crate) fn admitted_call(&self, now: u64) -> AdmittedCall {
        AdmittedCall::without_key(self.bucket.state(now), self.bucket.gcra.policy_header())
    }

    /// Admits all calls that are due. Returns the wakers of these calls except `polled`, and of the call that is now first if it is
    /// due earlier than it knows.
    fn advance(&self, queue: &mut WaitQueue<Waker>, units: u64, polled: Option<u64>) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if queue.len() == 0 {
            return wakers;
        }
        // After a pause of the process, the reservations are postponed.
        let (word, gcra) = self.bucket.read();
        if queue.postponed(word.into(), units.into(), gcra).is_some() {
            let mut base = None;
            self.bucket.rewrite(|word, gcra| {
                let postponed = queue.postponed(word.into(), units.into(), gcra);
                base = postponed.map(|(base, _)| base);
                postponed.map_or(word, |(_, word)| unsigned(word))
            });
            if let Some(base) = base {
                queue.set_base(base);
            }
        }
        while let Some((ticket, waker)) = queue.pop_due(units.into(), gcra) {
            wakers.extend(waker.filter(|_| Some(ticket) != polled));
        }
        wakers.extend(queue.take_waker_of_first(gcra));
        wakers
    }

    /// Returns the time until the first call in the queue is admitted.
    fn until_first_leaves(&self, queue: &WaitQueue<Waker>, units: u64) -> Duration {
        let (_, gcra) = self.bucket.read();
        queue
            .first_due(gcra)
            .map_or(Duration::ZERO, |due| duration_until(due, units))
    }
}

/// Returns the time from now until `due`, rounded up.
fn duration_until(due: i128, units: u64) -> Duration {
    let left = due - i128::from(units);
    Duration::from_nanos(Gcra::nanos(unsigned(left)))
}

fn unsigned(units: i128) -> u64 {
    units.clamp(0, u64::MAX.into()) as u64
}

/// Wakes calls, after the lock is released.
fn wake_all(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
