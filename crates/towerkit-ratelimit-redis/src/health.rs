use std::time::Duration;

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Tracks whether Redis is reachable, as a circuit breaker with a backoff.
///
/// After three failures in a row Redis is unreachable: calls do not ask it for the backoff, and then one call tries on behalf of all. The
/// backoff doubles with each failure up to 400 ms, so that the process finds Redis again within half a second.
///
/// Attempts have numbers. An attempt that began before the last change between reachable and unreachable is outdated, so that a late
/// result does not undo newer knowledge.
#[derive(Debug)]
pub(crate) struct Health {
    failures: AtomicU32,
    /// The time at which the next caller may try; 0 if Redis is reachable.
    next_try: AtomicU64,
    /// The number of the last attempt.
    begun: AtomicU64,
    /// The number of the last attempt before the last change.
    begun_at_change: AtomicU64,
}

impl Health {
    /// The failures in a row after which Redis is still reachable.
    const TOLERATED: u32 = 2;
    /// The first backoff, in nanoseconds.
    const FIRST_BACKOFF: u64 = 50_000_000;
    const MAX_DOUBLINGS: u32 = 3;

    pub(crate) fn new() -> Self {
        Self {
            failures: AtomicU32::new(0),
            next_try: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            begun_at_change: AtomicU64::new(0),
        }
    }

    #[inline(always)]
    pub(crate) fn is_reachable(&self) -> bool {
        // Relaxed throughout: the words guard no other memory.
        self.next_try.load(Ordering::Relaxed) == 0
    }

    /// Returns true if the caller may ask Redis.
    ///
    /// While Redis is unreachable one caller may, and the next one not before `deadline`, the time by which the first one has a result.
    pub(crate) fn may_try(&self, now: u64, deadline: u64) -> bool {
        let until = self.next_try.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        until <= now
            && self
                .next_try
                .compare_exchange(until, deadline.max(1), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Returns the number of an attempt that begins now.
    pub(crate) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns true if the attempt began before the last change.
    pub(crate) fn is_outdated(&self, attempt: u64) -> bool {
        attempt <= self.begun_at_change.load(Ordering::Relaxed)
    }

    fn mark_change(&self, changed: bool) -> bool {
        if changed {
            let begun = self.begun.load(Ordering::Relaxed);
            self.begun_at_change.store(begun, Ordering::Relaxed);
        }
        changed
    }

    /// Records an answer. Returns true if Redis was unreachable before.
    pub(crate) fn record_success(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        let changed = !self.is_reachable() && self.next_try.swap(0, Ordering::Relaxed) != 0;
        self.mark_change(changed)
    }

    /// Records a missing answer. Returns true if Redis was reachable before and is not now.
    ///
    /// `random` chooses the random part of the backoff.
    pub(crate) fn record_failure(&self, now: u64, random: u32) -> bool {
        let before = self.failures.load(Ordering::Relaxed);
        self.failures
            .store(before.saturating_add(1), Ordering::Relaxed);
        if before < Self::TOLERATED {
            return false;
        }
        let until = now.saturating_add(Self::backoff_after(before - Self::TOLERATED, random));
        let changed = self.next_try.swap(until.max(1), Ordering::Relaxed) == 0;
        self.mark_change(changed)
    }

    /// Returns the time for which a key whose request failed does not ask again, in nanoseconds.
    pub(crate) fn backoff(&self, random: u32) -> u64 {
        let failures = self.failures.load(Ordering::Relaxed);
        Self::backoff_after(failures.saturating_sub(1), random)
    }

    /// Half of the backoff is random, so that processes that lost Redis together do not return together.
    fn backoff_after(doublings: u32, random: u32) -> u64 {
        let delay = Self::FIRST_BACKOFF << doublings.min(Self::MAX_DOUBLINGS);
        delay / 2 + ((u128::from(delay / 2) * u128::from(random)) >> 32) as u64
    }

    /// Returns the time until the next caller may try.
    pub(crate) fn next_try(&self, now: u64) -> Duration {
        let until = self.next_try.load(Ordering::Relaxed);
        Duration::from_nanos(until.saturating_sub(now))
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    #[test]
    fn two_failures_do_not_make_redis_unreachable() {
        let health = Health::new();
        assert!(
            !health.record_failure(0, 0) && !health.record_failure(0, 0) && health.is_reachable()
        );
        assert!(!health.record_success());
        assert!(
            !health.record_failure(0, 0) && !health.record_failure(0, 0) && health.is_reachable()
        );
        assert!(health.record_failure(0, 0) && !health.is_reachable());
        assert!(!health.record_failure(0, 0), "it was unreachable before");
    }

    #[test]
    fn an_attempt_is_outdated_once_the_state_has_changed_since_it_began() {
        let health = Health::new();
        let first = health.begin();
        (0..3).for_each(|_| _ = health.record_failure(0, 0));
        let second = health.begin();
        assert!(health.is_outdated(first) && !health.is_outdated(second));
        health.record_failure(0, 0);
        assert!(!health.is_outdated(second), "the state did not change");
        assert!(health.record_success());
        assert!(health.is_outdated(second) && !health.is_outdated(health.begin()));
    }

    #[test]
    fn one_caller_tries_on_behalf_of_all() {
        let health = Health::new();
        (0..3).for_each(|_| _ = health.record_failure(0, 0));
        assert!(!health.may_try(25 * MILLI - 1, 125 * MILLI));
        assert!(health.may_try(25 * MILLI, 125 * MILLI));
        assert!(!health.may_try(25 * MILLI, 125 * MILLI));
        assert!(!health.may_try(125 * MILLI - 1, 225 * MILLI));
        assert!(
            health.may_try(125 * MILLI, 225 * MILLI),
            "the first caller had no result in time"
        );
        assert!(health.record_success() && health.is_reachable());
        assert!(health.may_try(125 * MILLI, 0));
    }

    #[test]
    fn the_backoff_doubles_up_to_400_ms() {
        let health = Health::new();
        let waits = (0..8).map(|_| {
            health.record_failure(0, u32::MAX);
            health.next_try(0).as_millis()
        });
        assert_eq!(
            waits.collect::<Vec<_>>(),
            [0, 0, 49, 99, 199, 399, 399, 399]
        );
    }

    #[test]
    fn half_of_the_backoff_is_random() {
        for (random, millis) in [(0, 25), (1 << 31, 37), (u32::MAX, 49)] {
            assert_eq!(Health::backoff_after(0, random) / MILLI, millis);
        }
    }

    #[test]
    fn at_the_end_of_time_redis_stays_unreachable() {
        let health = Health::new();
        (0..9).for_each(|_| _ = health.record_failure(u64::MAX, u32::MAX));
        assert!(!health.may_try(u64::MAX - 1, u64::MAX));
    }
}

#[cfg(all(test, towerkit_loom))]
mod loom_models {
    use loom::{sync::Arc, thread};

    use super::*;

    #[test]
    fn loom_one_caller_tries_on_behalf_of_all() {
        loom::model(|| {
            let health = Arc::new(Health::new());
            (0..3).for_each(|_| _ = health.record_failure(0, 0));
            let other = health.clone();
            let there = thread::spawn(move || other.may_try(1 << 40, 1 << 41));
            let here = health.may_try(1 << 40, 1 << 41);
            assert!(here != there.join().unwrap());
        });
    }

    #[test]
    fn loom_a_return_is_reported_once() {
        loom::model(|| {
            let health = Arc::new(Health::new());
            (0..3).for_each(|_| _ = health.record_failure(0, 0));
            let other = health.clone();
            let there = thread::spawn(move || other.record_success());
            let here = health.record_success();
            assert!(here != there.join().unwrap());
            assert!(health.is_reachable());
        });
    }
}
