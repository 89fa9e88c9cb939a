use std::time::Duration;

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Whether Redis answers, as far as this process knows.
///
/// After three failures in a row it is away: nobody asks it for a while, and then one caller does, on behalf of all. The while grows
/// with the failures, up to a bound that lets the process notice within half a second that it is back.
#[derive(Debug)]
pub(crate) struct Health {
    failures: AtomicU32,
    /// When the next caller may ask; 0 if all may.
    away_until: AtomicU64,
    /// The number of the last attempt that was begun.
    begun: AtomicU64,
    /// The value of `begun` at the last change between reachable and away.
    begun_at_change: AtomicU64,
}

impl Health {
    const TOLERATED: u32 = 2;
    const FIRST: u64 = 50_000_000;
    const DOUBLINGS: u32 = 3;

    pub(crate) fn new() -> Self {
        Self {
            failures: AtomicU32::new(0),
            away_until: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            begun_at_change: AtomicU64::new(0),
        }
    }

    #[inline(always)]
    pub(crate) fn is_well(&self) -> bool {
        // Relaxed throughout: the words guard nothing but themselves.
        self.away_until.load(Ordering::Relaxed) == 0
    }

    /// Whether the caller may ask. While Redis is away it is one caller that may, and it has until `claim` to hear of the answer.
    pub(crate) fn may_ask(&self, now: u64, claim: u64) -> bool {
        let until = self.away_until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        until <= now
            && self
                .away_until
                .compare_exchange(until, claim.max(1), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Returns the number of an attempt that begins now.
    pub(crate) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns true if the attempt began before the last change: its result says nothing about the state since.
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

    /// Takes note of an answer. Returns whether Redis was away.
    pub(crate) fn succeeded(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        let changed = !self.is_well() && self.away_until.swap(0, Ordering::Relaxed) != 0;
        self.mark_change(changed)
    }

    /// Takes note that no answer came. Returns whether Redis is away from now on.
    ///
    /// `share` of 2^32 is how much of the wait is taken at random.
    pub(crate) fn failed(&self, now: u64, share: u32) -> bool {
        let before = self.failures.load(Ordering::Relaxed);
        self.failures
            .store(before.saturating_add(1), Ordering::Relaxed);
        if before < Self::TOLERATED {
            return false;
        }
        let until = now.saturating_add(Self::delay(before - Self::TOLERATED, share));
        let changed = self.away_until.swap(until.max(1), Ordering::Relaxed) == 0;
        self.mark_change(changed)
    }

    /// How long to leave alone what has just failed.
    pub(crate) fn patience(&self, share: u32) -> u64 {
        let failures = self.failures.load(Ordering::Relaxed);
        Self::delay(failures.saturating_sub(1), share)
    }

    /// Half of it is fixed and half random, so that processes that lost Redis together do not return together.
    fn delay(doublings: u32, share: u32) -> u64 {
        let delay = Self::FIRST << doublings.min(Self::DOUBLINGS);
        delay / 2 + ((u128::from(delay / 2) * u128::from(share)) >> 32) as u64
    }

    /// How long until the next caller may ask.
    pub(crate) fn away_for(&self, now: u64) -> Duration {
        let until = self.away_until.load(Ordering::Relaxed);
        Duration::from_nanos(until.saturating_sub(now))
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    #[test]
    fn two_failures_are_no_reason_to_stay_away() {
        let health = Health::new();
        assert!(!health.failed(0, 0) && !health.failed(0, 0) && health.is_well());
        assert!(!health.succeeded());
        assert!(!health.failed(0, 0) && !health.failed(0, 0) && health.is_well());
        assert!(health.failed(0, 0) && !health.is_well());
        assert!(!health.failed(0, 0), "it is away already");
    }

    #[test]
    fn an_attempt_is_outdated_once_the_state_has_changed_since_it_began() {
        let health = Health::new();
        let first = health.begin();
        (0..3).for_each(|_| _ = health.failed(0, 0));
        let second = health.begin();
        assert!(health.is_outdated(first) && !health.is_outdated(second));
        health.failed(0, 0);
        assert!(!health.is_outdated(second), "it was away before");
        assert!(health.succeeded());
        assert!(health.is_outdated(second) && !health.is_outdated(health.begin()));
    }

    #[test]
    fn one_caller_asks_on_behalf_of_all() {
        let health = Health::new();
        (0..3).for_each(|_| _ = health.failed(0, 0));
        assert!(!health.may_ask(25 * MILLI - 1, 125 * MILLI));
        assert!(health.may_ask(25 * MILLI, 125 * MILLI));
        assert!(!health.may_ask(25 * MILLI, 125 * MILLI));
        assert!(!health.may_ask(125 * MILLI - 1, 225 * MILLI));
        assert!(
            health.may_ask(125 * MILLI, 225 * MILLI),
            "the other was given up"
        );
        assert!(health.succeeded() && health.is_well());
        assert!(health.may_ask(125 * MILLI, 0));
    }

    #[test]
    fn the_wait_doubles_up_to_a_bound_that_lets_one_return_within_a_second() {
        let health = Health::new();
        let waits = (0..8).map(|_| {
            health.failed(0, u32::MAX);
            health.away_for(0).as_millis()
        });
        assert_eq!(
            waits.collect::<Vec<_>>(),
            [0, 0, 49, 99, 199, 399, 399, 399]
        );
    }

    #[test]
    fn half_of_the_wait_is_random() {
        for (share, millis) in [(0, 25), (1 << 31, 37), (u32::MAX, 49)] {
            assert_eq!(Health::delay(0, share) / MILLI, millis);
        }
    }

    #[test]
    fn at_the_end_of_time_it_stays_away() {
        let health = Health::new();
        (0..9).for_each(|_| _ = health.failed(u64::MAX, u32::MAX));
        assert!(!health.may_ask(u64::MAX - 1, u64::MAX));
    }
}

#[cfg(all(test, towerkit_loom))]
mod loom_models {
    use loom::{sync::Arc, thread};

    use super::*;

    #[test]
    fn loom_one_caller_asks_on_behalf_of_all() {
        loom::model(|| {
            let health = Arc::new(Health::new());
            (0..3).for_each(|_| _ = health.failed(0, 0));
            let other = health.clone();
            let there = thread::spawn(move || other.may_ask(1 << 40, 1 << 41));
            let here = health.may_ask(1 << 40, 1 << 41);
            assert!(here != there.join().unwrap());
        });
    }

    #[test]
    fn loom_that_it_is_back_is_told_once() {
        loom::model(|| {
            let health = Arc::new(Health::new());
            (0..3).for_each(|_| _ = health.failed(0, 0));
            let other = health.clone();
            let there = thread::spawn(move || other.succeeded());
            let here = health.succeeded();
            assert!(here != there.join().unwrap());
            assert!(health.is_well());
        });
    }
}
