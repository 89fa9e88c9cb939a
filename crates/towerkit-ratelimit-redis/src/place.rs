use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::{
    common::Common,
    lease::{Lease, Spent},
    pace::Pace,
    spare::Spare,
    store::{Failure, Grant},
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// What this process keeps of one key.
#[derive(Debug)]
pub(crate) struct Place {
    lease: Lease,
    /// Fewer tokens than this are few.
    mark: AtomicU32,
    /// Redis has no token until then.
    denied_until: AtomicU64,
    /// Redis is not asked for this key until then, because it failed.
    failing_until: AtomicU64,
    pub(crate) spare: Spare,
    desk: Mutex<MockService>,
}

/// Where the next lease is asked for: by one caller at a time, for all.
#[derive(Debug)]
pub(crate) struct MockService {
    pace: Pace,
    flight: Option<Flight>,
}

/// A lease that was asked for.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) number: u64,
    pub(crate) answer: Answer,
    asked_at: u64,
    asked: u32,
}

/// The answer to come. Whoever waits for it drives it, and whoever is left goes on if that one is dropped.
pub(crate) type Answer = Common<Result<Grant, Failure>>;

/// The times that a place goes by, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// For how long tokens are leased.
    pub(crate) time: u64,
    /// How many tokens are leased at most.
    pub(crate) most: u32,
    /// How long an answer may take.
    pub(crate) timeout: u64,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            lease: Lease::new(),
            mark: AtomicU32::new(0),
            denied_until: AtomicU64::new(0),
            failing_until: AtomicU64::new(0),
            spare: Spare::new(),
            desk: Mutex::new(MockService::new()),
        }
    }

    #[inline(always)]
    pub(crate) fn spend(&self, now: u64, mine: impl Fn() -> bool) -> Spent {
        // Relaxed here and below: these are hints and times, each for itself.
        self.lease
            .spend(now, self.mark.load(Ordering::Relaxed), mine)
    }

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

    pub(crate) fn desk(&self) -> MutexGuard<'_, MockService> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The desk, if nobody is at it.
    pub(crate) fn free_desk(&self) -> Option<MutexGuard<'_, MockService>> {
        match self.desk.try_lock() {
            Ok(desk) => Some(desk),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Returns how many tokens to ask for: none if enough are held. The caller is at the desk.
    pub(crate) fn wanted(&self, desk: &mut MockService, now: u64, terms: Terms) -> u32 {
        let size = desk
            .pace
            .next(now, self.lease.unspent(), terms.time, terms.most);
        self.mark.store(desk.pace.mark(), Ordering::Relaxed);
        size.saturating_sub(self.lease.held(now))
    }

    /// Puts an answer to use. The caller took the flight from the desk, where it still is.
    pub(crate) fn land(
        &self,
        desk: &mut MockService,
        flight: &Flight,
        grant: Grant,
        now: u64,
        terms: Terms,
    ) {
        self.fail_until(0);
        desk.pace
            .brought(flight.asked_at, flight.asked, grant.tokens);
        if grant.tokens > 0 {
            // From when they were asked for: Redis gave them no earlier.
            self.lease
                .renew(grant.tokens, flight.asked_at.saturating_add(terms.time));
        }
        if !grant.wait.is_zero() {
            // Nobody may have looked at the answer for a while, but it came in time.
            let came_at = now.min(flight.asked_at.saturating_add(terms.timeout));
            self.deny_until(came_at.saturating_add(nanos(grant.wait)));
        }
    }

    /// Whether nothing is lost if the place goes to another key. The caller is at the desk.
    pub(crate) fn is_idle(&self, desk: &MockService, now: u64, timeout: u64) -> bool {
        let waits = desk.flight.as_ref();
        let waits = waits.is_some_and(|flight| flight.is_fresh(now, timeout));
        !waits && self.lease.held(now) == 0 && self.spare.is_full(now)
    }

    /// Forgets all. The caller is at the desk.
    pub(crate) fn clear(&self, desk: &mut MockService) {
        self.lease.clear();
        *desk = MockService::new();
        self.mark.store(0, Ordering::Relaxed);
        self.deny_until(0);
        self.fail_until(0);
        self.spare.fill();
    }
}

impl MockService {
    fn new() -> Self {
        Self {
            pace: Pace::new(),
            flight: None,
        }
    }

    /// Returns the flight that is under way, unless it is too old to wait for.
    pub(crate) fn fresh_flight(&self, now: u64, timeout: u64) -> Option<&Flight> {
        let flight = self.flight.as_ref();
        flight.filter(|flight| flight.is_fresh(now, timeout))
    }

    pub(crate) fn has_flight(&self) -> bool {
        self.flight.is_some()
    }

    pub(crate) fn depart(&mut self, now: u64, number: u64, asked: u32, answer: Answer) -> &Flight {
        self.flight.insert(Flight {
            number,
            answer,
            asked_at: now,
            asked,
        })
    }

    /// Takes the flight of this number, or any if it is `None`. Whoever gets it sees to its answer.
    pub(crate) fn take(&mut self, number: Option<u64>) -> Option<Flight> {
        self.flight
            .take_if(|flight| number.is_none_or(|number| flight.number == number))
    }

    pub(crate) fn flight(&self) -> Option<&Flight> {
        self.flight.as_ref()
    }
}

impl Flight {
    pub(crate) fn is_fresh(&self, now: u64, timeout: u64) -> bool {
        now.saturating_sub(self.asked_at) < timeout
    }
}

pub(crate) fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use std::{
        future::{pending, ready},
        time::Duration,
    };

    use futures_util::FutureExt;

    use super::*;

    const TERMS: Terms = Terms {
        time: 1000,
        most: 10,
        timeout: 100,
    };

    /// Looked at in time, or long after.
    #[test]
    fn a_denial_lasts_as_long_as_redis_said_from_when_it_came_at_the_latest() {
        for (looked_at, until) in [(50, 550), (100, 600), (5000, 600)] {
            let place = Place::new();
            let grant = Grant {
                tokens: 0,
                wait: Duration::from_nanos(500),
            };
            let mut desk = place.desk();
            desk.depart(0, 1, 1, Common::new(ready(Ok(grant)).boxed()));
            let flight = desk.take(Some(1)).unwrap();
            place.land(&mut desk, &flight, grant, looked_at, TERMS);
            assert_eq!(place.denied_until(), until);
        }
    }

    #[test]
    fn what_is_held_is_not_asked_for() {
        let place = Place::new();
        let grant = Grant {
            tokens: 1,
            wait: Duration::ZERO,
        };
        let mut desk = place.desk();
        assert_eq!(place.wanted(&mut desk, 0, TERMS), 1);
        desk.depart(0, 1, 1, Common::new(ready(Ok(grant)).boxed()));
        let flight = desk.take(None).unwrap();
        place.land(&mut desk, &flight, grant, 10, TERMS);
        // Busy enough for two, of which it has one.
        assert_eq!(place.wanted(&mut desk, 10, TERMS), 1);
        assert_eq!(place.wanted(&mut desk, 1000, TERMS), 2);
    }

    #[test]
    fn a_flight_is_taken_by_its_number_and_once() {
        let place = Place::new();
        let mut desk = place.desk();
        desk.depart(0, 1, 1, Common::new(pending().boxed()));
        desk.depart(0, 2, 1, Common::new(pending().boxed()));
        assert!(desk.take(Some(1)).is_none());
        assert!(desk.fresh_flight(99, 100).is_some() && desk.fresh_flight(100, 100).is_none());
        assert!(desk.take(Some(2)).is_some() && desk.take(None).is_none());
    }

    #[test]
    fn a_key_takes_no_more_room_than_is_said() {
        assert!(size_of::<Place>() + size_of::<AtomicU64>() <= 200);
    }
}
