use std::time::Duration;

/// The time of the next push: after the interval, and exponential backoff with full jitter while pushes fail.
#[derive(Debug)]
pub(crate) struct Backoff {
    interval: Duration,
    failures: u32,
}

/// The longest delay after failures, unless the interval is longer.
const MAX_DELAY: Duration = Duration::from_secs(60);

impl Backoff {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            failures: 0,
        }
    }

    /// Records the result of a push.
    pub(crate) fn record(&mut self, is_success: bool) {
        let failures = self.failures.saturating_add(1);
        self.failures = if is_success { 0 } else { failures };
    }

    /// Returns the time from the start of one push to the start of the next.
    ///
    /// `random`, a number from 0 to 1, spreads the pushes of processes that have lost the same receiver.
    pub(crate) fn delay(&self, random: f64) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let longest = self
            .interval
            .saturating_mul(1 << doublings)
            .min(MAX_DELAY.max(self.interval));
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
        fn the_delay_doubles_up_to_a_minute_and_a_success_resets_it(
            interval in 1_u64..200_000,
            pushes in prop::collection::vec(any::<bool>(), 0..40),
            random in 0.0_f64..=1.0,
        ) {
            let mut backoff = Backoff::new(Duration::from_millis(interval));
            let seconds = interval as f64 / 1e3;
            let mut longest = seconds;
            let mut failed_before = false;
            for is_success in pushes {
                backoff.record(is_success);
                longest = match (is_success, failed_before) {
                    (true, _) | (false, false) => seconds,
                    (false, true) => (longest * 2.0).min(seconds.max(60.0)),
                };
                failed_before = !is_success;
                let delay = backoff.delay(random).as_secs_f64();
                let expected = seconds * (1.0 - random) + longest * random;
                prop_assert!((delay - expected).abs() < 1e-6, "{} is not {}", delay, expected);
            }
        }
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(10));
        for _ in 0..100 {
            backoff.record(false);
        }
        assert_eq!(backoff.delay(1.0), Duration::from_secs(60));
        assert_eq!(backoff.delay(0.0), Duration::from_secs(10));
        assert_eq!(Backoff::new(Duration::MAX).delay(1.0), Duration::MAX);
    }
}
