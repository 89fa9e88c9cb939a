use std::time::Duration;

use towerkit_core::ConfigError;

use crate::config::{check_ttl, check_window};

/// How long an answer is kept and given out.
///
/// ```
/// use std::time::Duration;
/// use towerkit_cache::Lifetime;
///
/// let lifetime = Lifetime::new(Duration::from_secs(60))?
///     .stale_while_revalidate(Duration::from_secs(10))?
///     .stale_if_error(Duration::from_secs(3600))?;
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    ttl: u64,
    while_revalidate: u64,
    if_error: u64,
}

impl Lifetime {
    /// Gives an answer out for `ttl` from the moment it was there.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a year.
    pub fn new(ttl: Duration) -> Result<Self, ConfigError> {
        Ok(Self {
            ttl: check_ttl(ttl)?,
            while_revalidate: 0,
            if_error: 0,
        })
    }

    /// Gives an answer out for so long after its time is over, while one caller fetches the next; not at all by default (RFC 5861).
    ///
    /// # Errors
    ///
    /// If it is more than a year.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Result<Self, ConfigError> {
        self.while_revalidate = check_window("stale_while_revalidate", window)?;
        Ok(self)
    }

    /// Gives an answer out for so long after its time is over to a caller whose own call fails; not at all by default (RFC 5861).
    ///
    /// # Errors
    ///
    /// If it is more than a year.
    pub fn stale_if_error(mut self, window: Duration) -> Result<Self, ConfigError> {
        self.if_error = check_window("stale_if_error", window)?;
        Ok(self)
    }

    /// Returns the terms of an answer that is there at `now`, in nanoseconds.
    pub(crate) fn from(&self, now: u64) -> Terms {
        let over = now.saturating_add(self.ttl);
        Terms {
            over,
            unusable: over.saturating_add(self.while_revalidate),
            worthless: over.saturating_add(self.if_error),
        }
    }
}

/// Until when an answer is good for what, in nanoseconds. They stand from the moment it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    over: u64,
    unusable: u64,
    worthless: u64,
}

/// What an answer is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// For all.
    Fresh,
    /// For all but one, who fetches the next.
    Stale,
    /// For nobody who does not fail to fetch the next.
    Over,
}

impl Terms {
    pub(crate) fn at(&self, now: u64) -> Freshness {
        if now < self.over {
            Freshness::Fresh
        } else if now < self.unusable {
            Freshness::Stale
        } else {
            Freshness::Over
        }
    }

    /// Whether the answer stands in for a call that failed.
    pub(crate) fn stands_in(&self, now: u64) -> bool {
        now < self.worthless
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    const YEAR: u64 = 365 * 24 * 3600 * 1_000_000_000;

    /// Times of every magnitude, and those at which something may overflow.
    fn nanos(most: u64) -> impl Strategy<Value = u64> {
        prop_oneof![
            0..8_u64,
            (0..64_u32).prop_map(move |bits| most.checked_shr(bits).unwrap_or(0)),
            (0..8_u64).prop_map(move |less| most - less),
            0..=most,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]

        /// The model counts the age of an answer, and cannot overflow.
        #[test]
        fn an_answer_is_good_for_what_its_age_says(
            ttl in nanos(YEAR),
            while_revalidate in nanos(YEAR),
            if_error in nanos(YEAR),
            stored in nanos(u64::MAX),
            later in prop::collection::vec(nanos(3 * YEAR), 1..8),
        ) {
            let ttl = ttl.max(1);
            let window = Duration::from_nanos;
            let lifetime = Lifetime::new(window(ttl))
                .and_then(|lifetime| lifetime.stale_while_revalidate(window(while_revalidate)))
                .and_then(|lifetime| lifetime.stale_if_error(window(if_error)))
                .unwrap();
            let terms = lifetime.from(stored);
            let mut now = stored;
            for later in later {
                now = now.saturating_add(later);
                // At the end of time the clock stands still, and nothing is fresh any more.
                let end = i128::from(u64::MAX);
                let age = i128::from(now) - i128::from(stored);
                let room = end - i128::from(stored);
                let within = |limit: i128| age < limit.min(room);
                let ttl = i128::from(ttl);
                let expected = if within(ttl) {
                    Freshness::Fresh
                } else if within(ttl + i128::from(while_revalidate)) {
                    Freshness::Stale
                } else {
                    Freshness::Over
                };
                prop_assert_eq!(terms.at(now), expected);
                prop_assert_eq!(terms.stands_in(now), within(ttl + i128::from(if_error)));
            }
        }
    }

    #[test]
    fn a_clock_that_steps_back_makes_nothing_older() {
        let terms = Lifetime::new(Duration::from_nanos(5)).unwrap().from(100);
        assert_eq!(terms.at(99), Freshness::Fresh);
        assert_eq!(terms.at(0), Freshness::Fresh);
    }
}
