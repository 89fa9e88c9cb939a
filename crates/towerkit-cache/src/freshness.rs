use std::time::Duration;

use towerkit_core::ConfigError;

/// The time for which a response is fresh, and for which it may be returned when it is stale.
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
    /// Makes responses fresh for `ttl`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `ttl` is zero or longer than 365 days.
    pub fn new(ttl: Duration) -> Result<Self, ConfigError> {
        Ok(Self {
            ttl: ConfigError::check_duration("ttl", ttl)?,
            while_revalidate: 0,
            if_error: 0,
        })
    }

    /// Returns a stale response for this time while one caller fetches the next; zero by default.
    ///
    /// See [RFC 5861, section 3](https://www.rfc-editor.org/rfc/rfc5861#section-3).
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the time is longer than 365 days.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Result<Self, ConfigError> {
        self.while_revalidate = check_window("stale_while_revalidate", window)?;
        Ok(self)
    }

    /// Returns a stale response for this time to callers whose own call fails; zero by default.
    ///
    /// See [RFC 5861, section 4](https://www.rfc-editor.org/rfc/rfc5861#section-4).
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the time is longer than 365 days.
    pub fn stale_if_error(mut self, window: Duration) -> Result<Self, ConfigError> {
        self.if_error = check_window("stale_if_error", window)?;
        Ok(self)
    }

    /// Returns the expiry times of a response that arrives at `now`, in nanoseconds.
    pub(crate) fn expiry(&self, now: u64) -> Expiry {
        let stale_at = now.saturating_add(self.ttl);
        Expiry {
            stale_at,
            revalidate_until: stale_at.saturating_add(self.while_revalidate),
            on_error_until: stale_at.saturating_add(self.if_error),
        }
    }
}

/// The expiry times of a cached response, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expiry {
    stale_at: u64,
    revalidate_until: u64,
    on_error_until: u64,
}

/// Returns a window in nanoseconds if it is at most 365 days.
fn check_window(setting: &'static str, window: Duration) -> Result<u64, ConfigError> {
    if window.is_zero() {
        return Ok(0);
    }
    ConfigError::check_duration(setting, window)
        .map_err(|_| ConfigError::new(setting, window, "a time of at most 365 days"))
}

/// The freshness of a cached response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Fresh: returned to every caller.
    Fresh,
    /// Stale: returned to every caller but one, which fetches the next.
    Stale,
    /// Stale: returned only to callers whose own call fails.
    Expired,
}

impl Expiry {
    pub(crate) fn freshness(&self, now: u64) -> Freshness {
        if now < self.stale_at {
            Freshness::Fresh
        } else if now < self.revalidate_until {
            Freshness::Stale
        } else {
            Freshness::Expired
        }
    }

    /// Returns true if the response may replace a failed call.
    pub(crate) fn is_usable_on_error(&self, now: u64) -> bool {
        now < self.on_error_until
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    const YEAR: u64 = 365 * 24 * 3600 * 1_000_000_000;

    /// Times of every magnitude, including those near an overflow.
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

        /// The model computes the age of a response, and cannot overflow.
        #[test]
        fn a_response_is_usable_as_long_as_its_age_allows(
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
            let expiry = lifetime.expiry(stored);
            let mut now = stored;
            for later in later {
                now = now.saturating_add(later);
                // The clock saturates at its maximum, at which every response has expired.
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
                    Freshness::Expired
                };
                prop_assert_eq!(expiry.freshness(now), expected);
                prop_assert_eq!(expiry.is_usable_on_error(now), within(ttl + i128::from(if_error)));
            }
        }
    }

    #[test]
    fn a_clock_that_steps_back_makes_no_response_older() {
        let expiry = Lifetime::new(Duration::from_nanos(5)).unwrap().expiry(100);
        assert_eq!(expiry.freshness(99), Freshness::Fresh);
        assert_eq!(expiry.freshness(0), Freshness::Fresh);
    }
}
