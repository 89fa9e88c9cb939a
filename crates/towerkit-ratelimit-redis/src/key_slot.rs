use std::{
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

use towerkit_keyed::SlotValue;

use crate::{
    lease::{Lease, LeaseLimits, SpendResult},
    lease_sizer::LeaseSizer,
    local_bucket::LocalBucket,
    shared_future::SharedFuture,
    store::{Grant, StoreError},
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// The state of one key in this process.
#[derive(Debug)]
pub(crate) struct KeySlot {
    lease: Lease,
    /// With fewer tokens than this left, the next lease is requested.
    low_mark: AtomicU32,
    /// Until this time Redis has no token for the key.
    denied_until: AtomicU64,
    /// Until this time Redis is not asked for the key, because a request failed.
    failing_until: AtomicU64,
    /// The bucket of the key while Redis is unreachable.
    pub(crate) local: LocalBucket,
    refill: Mutex<Refill>,
}

/// The state of the lease request. At most one request per key is in flight, and its answer is shared by all callers.
#[derive(Debug)]
pub(crate) struct Refill {
    sizer: LeaseSizer,
    request: Option<LeaseRequest>,
    /// True while the slot changes hands.
    is_retired: bool,
}

/// A lease that was requested.
#[derive(Debug)]
pub(crate) struct LeaseRequest {
    /// The number of the attempt, see [`Health::begin`](crate::health::Health::begin).
    pub(crate) number: u64,
    pub(crate) answer: LeaseAnswer,
    started_at: u64,
    /// At this time the answer is late.
    deadline: u64,
    asked: u32,
}

/// The result of a request for tokens.
pub(crate) type Answer = Result<Grant, StoreError>;

/// The answer to come, shared by all callers that wait.
pub(crate) type LeaseAnswer = SharedFuture<Answer>;

impl KeySlot {
    #[inline(always)]
    pub(crate) fn spend(&self, now: u64, is_current: impl Fn() -> bool) -> SpendResult {
        // Relaxed here and below: these are hints and times, and guard no other memory.
        let low_mark = self.low_mark.load(Ordering::Relaxed);
        self.lease.spend(now, low_mark, is_current)
    }

    /// Returns the number of tokens that can be spent.
    pub(crate) fn held(&self, now: u64) -> u32 {
        self.lease.held(now)
    }

    pub(crate) fn denied_until(&self) -> u64 {
        self.denied_until.load(Ordering::Relaxed)
    }

    pub(crate) fn deny_until(&self, until: u64) {
        self.denied_until.store(until, Ordering::Relaxed);
    }

    pub(crate) fn failing_until(&self) -> u64 {
        self.failing_until.load(Ordering::Relaxed)
    }

    pub(crate) fn fail_until(&self, until: u64) {
        self.failing_until.store(until, Ordering::Relaxed);
    }

    /// Locks the refill state. Afterwards the slot may belong to another key, see [`Refill::is_retired`].
    pub(crate) fn refill(&self) -> MutexGuard<'_, Refill> {
        self.refill.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the refill state if no other thread has it.
    pub(crate) fn try_refill(&self) -> Option<MutexGuard<'_, Refill>> {
        match self.refill.try_lock() {
            Ok(refill) => Some(refill),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Returns the number of tokens to request, and 0 if enough are held.
    pub(crate) fn wanted(&self, refill: &mut Refill, now: u64, limits: LeaseLimits) -> u32 {
        let size = refill.sizer.next_size(now, self.lease.unspent(), limits);
        self.low_mark
            .store(refill.sizer.low_mark(), Ordering::Relaxed);
        size.saturating_sub(self.lease.held(now))
    }

    /// Adds the tokens of a grant. The caller has taken the request from `refill` and still holds its lock.
    pub(crate) fn add_grant(
        &self,
        refill: &mut Refill,
        request: &LeaseRequest,
        grant: Grant,
        now: u64,
        limits: LeaseLimits,
    ) {
        self.fail_until(0);
        refill
            .sizer
            .record_grant(request.started_at, request.asked, grant.tokens);
        if grant.tokens > 0 {
            // The lease starts when it was requested: Redis granted it no earlier.
            let end = request.started_at.saturating_add(limits.time);
            self.lease.renew(grant.tokens, end);
        }
        if !grant.wait.is_zero() {
            // The answer may have been polled long after it arrived, but it arrived before the deadline.
            let arrived_at = now.min(request.deadline);
            self.deny_until(arrived_at.saturating_add(nanos(grant.wait)));
        }
    }

    /// Returns true if no token and no debt is lost when the slot is given to another key.
    fn is_idle(&self, refill: &Refill, now: u64) -> bool {
        !refill.is_retired
            && refill.fresh_request(now).is_none()
            && self.lease.held(now) == 0
            && self.local.is_full(now)
    }
}

impl Default for KeySlot {
    fn default() -> Self {
        Self {
            lease: Lease::new(),
            low_mark: AtomicU32::new(0),
            denied_until: AtomicU64::new(0),
            failing_until: AtomicU64::new(0),
            local: LocalBucket::new(),
            refill: Mutex::new(Refill::new()),
        }
    }
}

/// The mark of a state is the time at which the slot was found idle.
impl SlotValue for KeySlot {
    type Initial = ();

    fn idle_mark(&self, now: u64, _is_owned: bool) -> Option<u64> {
        let refill = self.try_refill()?;
        self.is_idle(&refill, now).then_some(now)
    }

    fn retire(&self, mark: u64) -> bool {
        let Some(mut refill) = self.try_refill() else {
            return false;
        };
        if !self.is_idle(&refill, mark) {
            return false;
        }
        self.lease.clear();
        *refill = Refill {
            is_retired: true,
            ..Refill::new()
        };
        self.low_mark.store(0, Ordering::Relaxed);
        self.deny_until(0);
        self.fail_until(0);
        self.local.fill();
        true
    }

    fn set(&self, (): ()) {
        self.refill().is_retired = false;
    }
}

impl Refill {
    fn new() -> Self {
        Self {
            sizer: LeaseSizer::new(),
            request: None,
            is_retired: false,
        }
    }

    /// Returns true if the slot is between two keys: the caller's entry is about to be outdated.
    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired
    }

    pub(crate) fn request(&self) -> Option<&LeaseRequest> {
        self.request.as_ref()
    }

    /// Returns the request in flight, unless its answer is late.
    pub(crate) fn fresh_request(&self, now: u64) -> Option<&LeaseRequest> {
        self.request().filter(|request| now < request.deadline)
    }

    /// Records that `asked` tokens were requested.
    pub(crate) fn start(
        &mut self,
        now: u64,
        number: u64,
        asked: u32,
        limits: LeaseLimits,
        answer: LeaseAnswer,
    ) {
        self.request = Some(LeaseRequest {
            number,
            answer,
            started_at: now,
            deadline: now.saturating_add(limits.timeout),
            asked,
        });
    }

    /// Takes the request with this number. The caller applies its answer.
    pub(crate) fn take_request(&mut self, number: u64) -> Option<LeaseRequest> {
        self.request.take_if(|request| request.number == number)
    }
}

impl LeaseRequest {
    /// Returns true if the request failed although Redis may be reachable: no caller polled it for a whole timeout after the deadline.
    pub(crate) fn is_abandoned(&self, now: u64, limits: LeaseLimits) -> bool {
        now >= self.deadline.saturating_add(limits.timeout)
    }
}

/// Converts a duration to nanoseconds, at most [`u64::MAX`].
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;

    use super::*;

    const LIMITS: LeaseLimits = LeaseLimits {
        time: 1000,
        size: 10,
        timeout: 100,
    };

    fn granted(tokens: u32, wait: u64) -> (Grant, LeaseAnswer) {
        let wait = Duration::from_nanos(wait);
        let grant = Grant { tokens, wait };
        (grant, SharedFuture::new(ready(Ok(grant)).boxed()))
    }

    /// Polled in time, or long after.
    #[test]
    fn a_denial_starts_when_the_answer_arrived() {
        for (polled_at, until) in [(50, 550), (100, 600), (5000, 600)] {
            let slot = KeySlot::default();
            let (grant, answer) = granted(0, 500);
            let mut refill = slot.refill();
            refill.start(0, 1, 1, LIMITS, answer);
            let request = refill.take_request(1).unwrap();
            slot.add_grant(&mut refill, &request, grant, polled_at, LIMITS);
            assert_eq!(slot.denied_until(), until);
        }
    }

    #[test]
    fn held_tokens_are_not_requested() {
        let slot = KeySlot::default();
        let (grant, answer) = granted(1, 0);
        let mut refill = slot.refill();
        assert_eq!(slot.wanted(&mut refill, 0, LIMITS), 1);
        refill.start(0, 1, 1, LIMITS, answer);
        let request = refill.take_request(1).unwrap();
        slot.add_grant(&mut refill, &request, grant, 10, LIMITS);
        // The key is busy enough for two tokens, and has one.
        assert_eq!(slot.wanted(&mut refill, 10, LIMITS), 1);
        assert_eq!(slot.wanted(&mut refill, 1000, LIMITS), 2);
    }

    #[test]
    fn a_request_is_taken_by_its_number_and_once() {
        let slot = KeySlot::default();
        let mut refill = slot.refill();
        refill.start(0, 1, 1, LIMITS, SharedFuture::new(pending().boxed()));
        refill.start(0, 2, 1, LIMITS, SharedFuture::new(pending().boxed()));
        assert!(refill.take_request(1).is_none());
        assert!(refill.fresh_request(99).is_some() && refill.fresh_request(100).is_none());
        assert!(refill.take_request(2).is_some() && refill.request().is_none());
    }

    /// A caller that found the slot before it changed hands starts no request in it.
    #[test]
    fn a_slot_is_retired_only_while_it_is_idle() {
        let slot = KeySlot::default();
        let (grant, answer) = granted(1, 0);
        let mut refill = slot.refill();
        assert_eq!(slot.idle_mark(0, true), None, "the lock is taken");
        refill.start(0, 1, 1, LIMITS, answer);
        drop(refill);
        assert_eq!(slot.idle_mark(99, true), None, "an answer is due");
        let mark = slot.idle_mark(100, true).unwrap();
        let mut refill = slot.refill();
        let request = refill.take_request(1).unwrap();
        slot.add_grant(&mut refill, &request, grant, 50, LIMITS);
        drop(refill);
        assert!(!slot.retire(mark), "it has a token");
        assert!(slot.retire(1000) && slot.refill().is_retired());
        assert_eq!(
            (slot.idle_mark(1000, true), slot.retire(1000)),
            (None, false)
        );
        slot.set(());
        assert!(!slot.refill().is_retired());
    }

    #[test]
    fn a_key_takes_no_more_memory_than_documented() {
        assert!(size_of::<KeySlot>() + size_of::<AtomicU64>() <= 200);
    }
}
