use std::time::Duration;

use towerkit_core::ConfigError;

/// Exponential backoff with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
///
/// The delay is uniformly distributed between zero and a bound that doubles with each retry. Each thread has its own random
/// generator, which goes on from delay to delay, so that calls that fail together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// In nanoseconds, as is the cap.
    base: u64,
    cap: u64,
}

/// The longest delay that a layer accepts.
const MAX_DELAY: Duration = Duration::from_secs(24 * 3600);

impl Backoff {
    pub(crate) const DEFAULT: Self = Self {
        base: 50_000_000,
        cap: 2_000_000_000,
    };

    pub(crate) fn new(base: Duration, cap: Duration) -> Result<Self, ConfigError> {
        if base.is_zero() {
            return Err(ConfigError::new("backoff base", base, "more than zero"));
        }
        if cap < base {
            let expected = format!("at least the base, {base:?}");
            return Err(ConfigError::new("backoff cap", cap, expected));
        }
        let cap = checked_delay("backoff cap", cap)?;
        Ok(Self {
            base: nanos(base),
            cap: nanos(cap),
        })
    }

    /// Returns the delay before a retry, the first of which has number 0.
    pub(crate) fn delay(self, retry: u32) -> Duration {
        Duration::from_nanos(fastrand::u64(0..=self.bound(retry)))
    }

    fn bound(self, retry: u32) -> u64 {
        if retry >= self.base.leading_zeros() {
            return self.cap;
        }
        self.cap.min(self.base << retry)
    }
}

/// Checks a delay against the longest that a layer accepts.
pub(crate) fn checked_delay(
    setting: &'static str,
    delay: Duration,
) -> Result<Duration, ConfigError> {
    if delay > MAX_DELAY {
        return Err(ConfigError::new(setting, delay, "at most a day"));
    }
    Ok(delay)
}

/// Returns nanoseconds; a day or less fits into 64 bits.
fn nanos(delay: Duration) -> u64 {
    delay.as_secs() * 1_000_000_000 + u64::from(delay.subsec_nanos())
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// RT-07
        #[test]
        fn a_delay_is_at_most_the_doubled_base_or_the_cap(
            base in 1..86_400_000_000_000u64,
            above in prop_oneof![Just(0), 0..86_400_000_000_000u64],
            retry in 0..200u32,
        ) {
            let cap = (base + above).min(86_400_000_000_000);
            let backoff = Backoff::new(Duration::from_nanos(base), Duration::from_nanos(cap)).unwrap();
            let bound = if retry < 60 {
                i128::from(cap).min(i128::from(base) * 2i128.pow(retry))
            } else {
                i128::from(cap)
            };
            prop_assert_eq!(i128::from(backoff.bound(retry)), bound);
            prop_assert!(backoff.delay(retry).as_nanos() as i128 <= bound);
        }
    }

    /// RT-07: a Kolmogorov-Smirnov test at p = 0.01, with a seeded generator so that its result never changes.
    #[test]
    fn delays_are_uniformly_distributed() {
        fastrand::seed(7);
        for retry in 0..8 {
            let bound = Backoff::DEFAULT.bound(retry) as f64;
            let delays =
                (0..10_000).map(|_| Backoff::DEFAULT.delay(retry).as_nanos() as f64 / bound);
            let mut delays: Vec<f64> = delays.collect();
            delays.sort_by(f64::total_cmp);
            let count = delays.len() as f64;
            let gaps = delays.iter().zip(1..).flat_map(|(delay, rank)| {
                let rank = f64::from(rank);
                [rank / count - delay, delay - (rank - 1.0) / count]
            });
            let statistic = gaps.fold(0.0, f64::max) * count.sqrt();
            assert!(statistic < 1.628, "retry {retry}: {statistic}");
        }
    }

    /// T-07
    #[test]
    fn settings_out_of_range_are_typed_errors() {
        let second = Duration::from_secs(1);
        for (base, cap) in [
            (Duration::ZERO, second),
            (Duration::ZERO, Duration::ZERO),
            (2 * second, second),
            (second, Duration::MAX),
            (Duration::MAX, Duration::MAX),
        ] {
            assert!(Backoff::new(base, cap).is_err(), "{base:?} {cap:?}");
        }
        assert!(Backoff::new(Duration::from_nanos(1), 86_400 * second).is_ok());
    }
}
