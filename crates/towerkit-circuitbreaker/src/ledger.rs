use std::num::NonZeroU32;

use crate::{
    Trip,
    epoch::Epoch,
    sync::{AtomicU64, Ordering},
    tally::Tally,
    trip::Rule,
    window::Window,
};

/// The results of one epoch, as the rule needs them.
pub(crate) enum Ledger {
    Streak {
        streak: Streak,
        limit: NonZeroU32,
    },
    Rate {
        window: Window,
        rate: f64,
        minimum: u16,
    },
}

impl Ledger {
    pub(crate) fn new(trip: Trip, epoch: Epoch) -> Self {
        match trip.0 {
            Rule::Streak(limit) => Self::Streak {
                streak: Streak::new(epoch),
                limit,
            },
            Rule::Rate {
                rate,
                window,
                minimum,
            } => Self::Rate {
                window: Window::new(window, epoch),
                rate,
                minimum,
            },
        }
    }

    /// Whether one more success in `epoch` would change nothing.
    #[inline]
    pub(crate) fn is_spotless(&self, epoch: Epoch) -> bool {
        match self {
            Self::Streak { streak, .. } => streak.is_spotless(epoch),
            Self::Rate { window, .. } => window.is_spotless(epoch),
        }
    }

    /// Counts one result of `epoch`, and says whether the breaker must open.
    pub(crate) fn record(&self, epoch: Epoch, failed: bool) -> bool {
        match self {
            Self::Streak { streak, limit } => streak
                .record(epoch, failed)
                .is_some_and(|failures| failures >= limit.get()),
            Self::Rate {
                window,
                rate,
                minimum,
            } => window
                .record(epoch, failed)
                .is_some_and(|tally| reaches(tally, window.size(), *rate, *minimum)),
        }
    }

    /// Forgets everything; results of other epochs than this one do not count from now on.
    pub(crate) fn reset(&self, epoch: Epoch) {
        match self {
            Self::Streak { streak, .. } => streak.reset(epoch),
            Self::Rate { window, .. } => window.reset(epoch),
        }
    }

    /// Returns how many results are counted and how many of them are failures, both 0 if `epoch` is over.
    pub(crate) fn counts(&self, epoch: Epoch) -> (u32, u32) {
        match self {
            Self::Streak { streak, .. } => {
                let failures = streak.failures(epoch);
                (failures, failures)
            }
            Self::Rate { window, .. } => {
                let tally = window.tally();
                if tally.epoch() == epoch {
                    (tally.results(window.size()).into(), tally.failures().into())
                } else {
                    (0, 0)
                }
            }
        }
    }
}

/// Whether there are `minimum` results, and the share of failures among them is at least `rate`.
///
/// The counts are so small that an `f64` tells any two different quotients apart.
fn reaches(tally: Tally, size: u16, rate: f64, minimum: u16) -> bool {
    let (results, failures) = (tally.results(size), tally.failures());
    results >= minimum && failures > 0 && f64::from(failures) / f64::from(results) >= rate
}

/// Failures in a row: the epoch (32 bits) and their number (32).
pub(crate) struct Streak(AtomicU64);

const FAILURES: u32 = 32;

// Relaxed throughout: the word says everything, and no other memory hangs on it.
impl Streak {
    fn new(epoch: Epoch) -> Self {
        Self(AtomicU64::new(u64::from(epoch.bits())))
    }

    #[inline]
    fn is_spotless(&self, epoch: Epoch) -> bool {
        self.0.load(Ordering::Relaxed) == u64::from(epoch.bits())
    }

    /// Counts one result; returns the failures in a row, or `None` if that epoch is over.
    fn record(&self, epoch: Epoch, failed: bool) -> Option<u32> {
        let mut seen = self.0.load(Ordering::Relaxed);
        while epoch_of(seen) == epoch {
            let before = (seen >> FAILURES) as u32;
            let failures = if failed { before.saturating_add(1) } else { 0 };
            let next = u64::from(epoch.bits()) | u64::from(failures) << FAILURES;
            match self
                .0
                .compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(failures),
                Err(other) => seen = other,
            }
        }
        None
    }

    fn reset(&self, epoch: Epoch) {
        self.0.swap(u64::from(epoch.bits()), Ordering::Relaxed);
    }

    fn failures(&self, epoch: Epoch) -> u32 {
        let seen = self.0.load(Ordering::Relaxed);
        if epoch_of(seen) == epoch {
            (seen >> FAILURES) as u32
        } else {
            0
        }
    }
}

fn epoch_of(streak: u64) -> Epoch {
    Epoch::of(streak as u32)
}
