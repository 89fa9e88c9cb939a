use std::num::NonZeroU32;

use crate::{
    Trip,
    sync::{AtomicU64, Ordering},
    tally::Tally,
    trip::Rule,
    window::Window,
    word::Generation,
};

/// The results of one generation, as the rule needs them.
pub(crate) enum Ledger {
    Streak {
        streak: Streak,
        limit: NonZeroU32,
    },
    Rate {
        window: Window,
        rate: f64,
        minimum: u32,
    },
}

impl Ledger {
    pub(crate) fn new(trip: Trip, generation: Generation) -> Self {
        match trip.0 {
            Rule::Streak(limit) => Self::Streak {
                streak: Streak::new(generation),
                limit,
            },
            Rule::Rate {
                rate,
                window,
                minimum,
            } => Self::Rate {
                window: Window::new(window, generation),
                rate,
                minimum: u32::from(minimum),
            },
        }
    }

    /// Counts one result of `generation`, and says whether the breaker must open.
    #[inline]
    pub(crate) fn record(&self, generation: Generation, failed: bool) -> bool {
        match self {
            Self::Streak { streak, limit } => streak
                .record(generation, failed)
                .is_some_and(|failures| failures >= limit.get()),
            Self::Rate {
                window,
                rate,
                minimum,
            } => window
                .record(generation, failed)
                .is_some_and(|tally| exceeds(tally, window.size(), *rate, *minimum)),
        }
    }

    /// Forgets everything; what is recorded for another generation than this one from now on is ignored.
    pub(crate) fn reset(&self, generation: Generation) {
        match self {
            Self::Streak { streak, .. } => streak.reset(generation),
            Self::Rate { window, .. } => window.reset(generation),
        }
    }

    /// Returns how many results are counted and how many of them are failures, both 0 in another generation.
    pub(crate) fn counts(&self, generation: Generation) -> (u32, u32) {
        match self {
            Self::Streak { streak, .. } => {
                let failures = streak.failures(generation);
                (failures, failures)
            }
            Self::Rate { window, .. } => {
                let tally = window.tally();
                if tally.generation() == generation {
                    (tally.results(window.size()), tally.failures())
                } else {
                    (0, 0)
                }
            }
        }
    }
}

/// Whether the share of failures is at least `rate`.
///
/// Both counts are far below 2²⁶, so that two different quotients differ by more than an `f64` rounds.
fn exceeds(tally: Tally, size: u32, rate: f64, minimum: u32) -> bool {
    let (results, failures) = (tally.results(size), tally.failures());
    results >= minimum && failures > 0 && f64::from(failures) / f64::from(results) >= rate
}

/// Failures in a row: the generation (29 bits) and, from bit 32, their number.
pub(crate) struct Streak(AtomicU64);

const FAILURES: u32 = 32;

impl Streak {
    fn new(generation: Generation) -> Self {
        Self(AtomicU64::new(u64::from(generation.number())))
    }

    /// Counts one result; returns the failures in a row, or `None` where it changes nothing.
    // Relaxed throughout: the word says everything, and no other memory hangs on it.
    #[inline]
    fn record(&self, generation: Generation, failed: bool) -> Option<u32> {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let failures = (seen >> FAILURES) as u32;
            if Generation::of(seen as u32) != generation || (!failed && failures == 0) {
                return None;
            }
            let failures = if failed {
                failures.saturating_add(1)
            } else {
                0
            };
            let next = u64::from(generation.number()) | u64::from(failures) << FAILURES;
            match self
                .0
                .compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(failures),
                Err(other) => seen = other,
            }
        }
    }

    fn reset(&self, generation: Generation) {
        self.0
            .store(u64::from(generation.number()), Ordering::Relaxed);
    }

    fn failures(&self, generation: Generation) -> u32 {
        let seen = self.0.load(Ordering::Relaxed);
        if Generation::of(seen as u32) == generation {
            (seen >> FAILURES) as u32
        } else {
            0
        }
    }
}
