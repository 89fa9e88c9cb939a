use std::time::Duration;

/// When to push next: every interval, and less often while pushes fail.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    failures: u32,
}

/// The longest wait after failures, unless the interval is longer.
const LONGEST: Duration = Duration::from_secs(60);

impl Pace {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            failures: 0,
        }
    }

    /// Takes note of how a push went.
    pub(crate) fn pushed(&mut self, well: bool) {
        let failures = self.failures.saturating_add(1);
        self.failures = if well { 0 } else { failures };
    }

    /// Returns the time from the start of one push to the start of the next.
    ///
    /// `random`, from 0 to 1, spreads processes that have lost the same receiver.
    pub(crate) fn wait(&self, random: f64) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let longest = self
            .interval
            .saturating_mul(1 << doublings)
            .min(LONGEST.max(self.interval));
        self.interval + (longest - self.interval).mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(4),
            ..ProptestConfig::default()
        })]

        /// The model doubles step by step, in floating seconds.
        #[test]
        fn it_backs_off_within_a_minute_and_is_back_at_once(
            interval in 1_u64..200_000,
            pushes in prop::collection::vec(any::<bool>(), 0..40),
            random in 0.0_f64..=1.0,
        ) {
            let mut pace = Pace::new(Duration::from_millis(interval));
            let seconds = interval as f64 / 1e3;
            let mut longest = seconds;
            let mut failed_before = false;
            for well in pushes {
                pace.pushed(well);
                longest = match (well, failed_before) {
                    (true, _) | (false, false) => seconds,
                    (false, true) => (longest * 2.0).min(seconds.max(60.0)),
                };
                failed_before = !well;
                let wait = pace.wait(random).as_secs_f64();
                let expected = seconds * (1.0 - random) + longest * random;
                prop_assert!((wait - expected).abs() < 1e-6, "{} is not {}", wait, expected);
            }
        }
    }

    #[test]
    fn a_long_row_of_failures_overflows_nothing() {
        let mut pace = Pace::new(Duration::from_secs(10));
        for _ in 0..100 {
            pace.pushed(false);
        }
        assert_eq!(pace.wait(1.0), Duration::from_secs(60));
        assert_eq!(pace.wait(0.0), Duration::from_secs(10));
        assert_eq!(Pace::new(Duration::MAX).wait(1.0), Duration::MAX);
    }
}
