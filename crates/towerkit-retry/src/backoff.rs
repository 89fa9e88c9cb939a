use std::time::Duration;

use crate::{InvalidRetry, invalid::Problem};

/// Exponential backoff with full jitter, after "Exponential Backoff And Jitter" (AWS, 2015).
///
/// The pause is anything from nothing to a bound that doubles with each retry. The generator is the thread's own and goes on from
/// pause to pause, so that calls which fail together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// In nanoseconds, as is the cap.
    base: u64,
    cap: u64,
}

impl Backoff {
    pub(crate) const DEFAULT: Self = Self {
        base: 50_000_000,
        cap: 2_000_000_000,
    };

    pub(crate) fn new(base: Duration, cap: Duration) -> Result<Self, InvalidRetry> {
        if base.is_zero() {
            return Err(InvalidRetry(Problem::NoPause));
        }
        if cap < base {
            return Err(InvalidRetry(Problem::CapBelowBase { base, cap }));
        }
        let nanos = |pause| InvalidRetry::check(pause).map(nanos);
        Ok(Self {
            base: nanos(base)?,
            cap: nanos(cap)?,
        })
    }

    /// Returns the pause before a retry; the first is number 0.
    pub(crate) fn pause(self, retry: u32) -> Duration {
        Duration::from_nanos(fastrand::u64(0..=self.bound(retry)))
    }

    fn bound(self, retry: u32) -> u64 {
        if retry >= self.base.leading_zeros() {
            return self.cap;
        }
        self.cap.min(self.base << retry)
    }
}

/// A day or less fits well into 64 bits.
fn nanos(pause: Duration) -> u64 {
    pause.as_secs() * 1_000_000_000 + u64::from(pause.subsec_nanos())
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// RT-07
        #[test]
        fn a_pause_is_at_most_the_base_doubled_that_often_or_the_cap(
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
            prop_assert!(backoff.pause(retry).as_nanos() as i128 <= bound);
        }
    }

    /// RT-07: Kolmogorov and Smirnov's test at p = 0.01. The generator is seeded, so that it passes always or never.
    #[test]
    fn pauses_are_spread_evenly() {
        fastrand::seed(7);
        for retry in 0..8 {
            let bound = Backoff::DEFAULT.bound(retry) as f64;
            let pauses =
                (0..10_000).map(|_| Backoff::DEFAULT.pause(retry).as_nanos() as f64 / bound);
            let mut pauses: Vec<f64> = pauses.collect();
            pauses.sort_by(f64::total_cmp);
            let count = pauses.len() as f64;
            let gaps = pauses.iter().zip(1..).flat_map(|(pause, rank)| {
                let rank = f64::from(rank);
                [rank / count - pause, pause - (rank - 1.0) / count]
            });
            let statistic = gaps.fold(0.0, f64::max) * count.sqrt();
            assert!(statistic < 1.628, "retry {retry}: {statistic}");
        }
    }

    /// T-07
    #[test]
    fn nonsense_is_a_typed_error() {
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
