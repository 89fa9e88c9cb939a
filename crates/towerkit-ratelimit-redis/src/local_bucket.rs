use std::time::Duration;

use towerkit_ratelimit::Quota;

use crate::sync::{AtomicU64, Ordering};

/// A token bucket in this process, for the time while Redis is unreachable: the generic cell rate algorithm in whole nanoseconds.
#[derive(Debug)]
pub(crate) struct LocalBucket {
    full_at: AtomicU64,
}

/// The quota of a [`LocalBucket`], as parameters of the generic cell rate algorithm (GCRA, ITU-T I.371).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gcra {
    /// The nanoseconds between two tokens.
    emission_interval: u64,
    /// The nanoseconds by which calls may be early.
    burst_tolerance: u64,
}

impl Gcra {
    pub(crate) fn of(quota: &Quota) -> Self {
        let interval = quota
            .period()
            .as_nanos()
            .div_ceil(u128::from(quota.count()));
        let tolerance = interval * u128::from(quota.burst_size() - 1);
        Self {
            emission_interval: saturate(interval),
            burst_tolerance: saturate(tolerance),
        }
    }
}

fn saturate(nanos: u128) -> u64 {
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

impl LocalBucket {
    pub(crate) fn new() -> Self {
        Self {
            full_at: AtomicU64::new(0),
        }
    }

    /// Takes a token, or returns the time until there is one.
    pub(crate) fn take(&self, now: u64, gcra: Gcra) -> Result<(), Duration> {
        // Relaxed: the word guards no other memory.
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let base = full_at.max(now);
            let ahead = base - now;
            if ahead > gcra.burst_tolerance {
                return Err(Duration::from_nanos(ahead - gcra.burst_tolerance));
            }
            let Some(next) = base.checked_add(gcra.emission_interval) else {
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

    /// Returns true if the bucket lacks no token.
    pub(crate) fn is_full(&self, now: u64) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now
    }

    /// Fills the bucket.
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

        /// RL-01, RL-03: no window admits more than the burst and the rate allow, and the wait is exact.
        #[test]
        fn no_window_admits_more_than_burst_plus_rate(
            (count, per, burst) in (1..2000u32, 1..5_000_000u64, 1..9u32),
            steps in prop::collection::vec(0..2_000_000u64, 1..50),
        ) {
            let quota = Quota::new(count, Duration::from_nanos(per)).unwrap().burst(burst).unwrap();
            let (bucket, gcra) = (LocalBucket::new(), Gcra::of(&quota));
            let mut now = 1_000_000_000;
            let mut admitted: Vec<i128> = Vec::new();
            for step in steps {
                now += step / 2 * (step % 2);
                match bucket.take(now, gcra) {
                    Ok(()) => admitted.push(now.into()),
                    Err(wait) => {
                        let wait = wait.as_nanos() as u64;
                        prop_assert!(wait > 0 && bucket.take(now + wait - 1, gcra).is_err());
                        if step % 3 == 0 {
                            now += wait;
                            prop_assert!(bucket.take(now, gcra).is_ok());
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
    fn a_token_is_there_after_exactly_the_wait() {
        let quota = Quota::per_second(10).unwrap().burst(1).unwrap();
        let (bucket, gcra) = (LocalBucket::new(), Gcra::of(&quota));
        assert_eq!(bucket.take(5, gcra), Ok(()));
        assert_eq!(bucket.take(5, gcra), Err(Duration::from_millis(100)));
        assert!(!bucket.is_full(100_000_004) && bucket.is_full(100_000_005));
        assert_eq!(bucket.take(100_000_005, gcra), Ok(()));
        bucket.fill();
        assert_eq!(bucket.take(100_000_005, gcra), Ok(()));
    }

    #[test]
    fn at_the_end_of_time_the_bucket_has_no_token() {
        let gcra = Gcra::of(&Quota::per_second(10).unwrap());
        assert_eq!(LocalBucket::new().take(u64::MAX, gcra), Err(Duration::MAX));
    }
}
