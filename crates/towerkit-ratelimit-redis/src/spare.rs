use std::time::Duration;

use towerkit_ratelimit::Quota;

use crate::sync::{AtomicU64, Ordering};

/// The bucket of one key in this process, for as long as Redis is away: the cell rate algorithm in whole nanoseconds.
#[derive(Debug)]
pub(crate) struct Spare {
    full_at: AtomicU64,
}

/// The quota of a [`Spare`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spacing {
    /// Nanoseconds between two tokens.
    pub(crate) interval: u64,
    /// Nanoseconds that the bucket may be ahead of the clock.
    pub(crate) tolerance: u64,
}

impl Spacing {
    pub(crate) fn of(quota: &Quota) -> Self {
        let interval = quota
            .period()
            .as_nanos()
            .div_ceil(u128::from(quota.count()));
        let tolerance = interval * u128::from(quota.burst_size() - 1);
        Self {
            interval: saturate(interval),
            tolerance: saturate(tolerance),
        }
    }
}

fn saturate(nanos: u128) -> u64 {
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

impl Spare {
    pub(crate) fn new() -> Self {
        Self {
            full_at: AtomicU64::new(0),
        }
    }

    /// Takes a token, or says after which time there will be one.
    pub(crate) fn take(&self, now: u64, spacing: Spacing) -> Result<(), Duration> {
        // Relaxed: the word guards nothing but itself.
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let base = full_at.max(now);
            let ahead = base - now;
            if ahead > spacing.tolerance {
                return Err(Duration::from_nanos(ahead - spacing.tolerance));
            }
            let Some(next) = base.checked_add(spacing.interval) else {
                return Err(Duration::MAX);
            };
            match self.full_at.compare_exchange_weak(
                full_at,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(seen) => full_at = seen,
            }
        }
    }

    pub(crate) fn is_full(&self, now: u64) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now
    }

    pub(crate) fn fill(&self) {
        self.full_at.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// RL-01, RL-03: no window admits more than the burst and what flows in, and the wait is exact.
        #[test]
        fn no_window_admits_more_than_burst_plus_rate(
            (count, per, burst) in (1..2000u32, 1..5_000_000u64, 1..9u32),
            steps in prop::collection::vec(0..2_000_000u64, 1..50),
        ) {
            let quota = Quota::new(count, Duration::from_nanos(per)).unwrap().burst(burst).unwrap();
            let (spare, spacing) = (Spare::new(), Spacing::of(&quota));
            let mut now = 1_000_000_000;
            let mut admitted: Vec<i128> = Vec::new();
            for step in steps {
                now += step / 2 * (step % 2);
                match spare.take(now, spacing) {
                    Ok(()) => admitted.push(now.into()),
                    Err(wait) => {
                        let wait = wait.as_nanos() as u64;
                        prop_assert!(wait > 0 && spare.take(now + wait - 1, spacing).is_err());
                        if step % 3 == 0 {
                            now += wait;
                            prop_assert!(spare.take(now, spacing).is_ok());
                            admitted.push(now.into());
                        }
                    }
                }
            }
            for (first, start) in admitted.iter().enumerate() {
                for (last, end) in admitted.iter().enumerate().skip(first) {
                    let excess = (last - first + 1) as i128 - i128::from(burst);
                    prop_assert!(excess * i128::from(per) <= i128::from(count) * (end - start));
                }
            }
        }
    }

    #[test]
    fn the_wait_is_over_when_it_says() {
        let quota = Quota::per_second(10).unwrap().burst(1).unwrap();
        let (spare, spacing) = (Spare::new(), Spacing::of(&quota));
        assert_eq!(spare.take(5, spacing), Ok(()));
        assert_eq!(spare.take(5, spacing), Err(Duration::from_millis(100)));
        assert!(!spare.is_full(100_000_004) && spare.is_full(100_000_005));
        assert_eq!(spare.take(100_000_005, spacing), Ok(()));
        spare.fill();
        assert_eq!(spare.take(100_000_005, spacing), Ok(()));
    }

    #[test]
    fn at_the_end_of_time_the_bucket_stays_shut() {
        let spacing = Spacing::of(&Quota::per_second(10).unwrap());
        assert_eq!(Spare::new().take(u64::MAX, spacing), Err(Duration::MAX));
    }
}
