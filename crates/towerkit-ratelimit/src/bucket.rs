use std::time::Duration;

use crate::{
    quota::Spacing,
    sync::{AtomicU64, Ordering},
};

/// A token bucket in one word: the generic cell rate algorithm, virtual scheduling (ITU-T I.371, annex A).
///
/// The word is the theoretical arrival time: when the bucket would be full again. Time only ever raises it, so that a clock that
/// steps back mints no token.
#[derive(Debug)]
pub(crate) struct Bucket {
    full_at: AtomicU64,
    spacing: Spacing,
}

impl Bucket {
    pub(crate) fn new(spacing: Spacing) -> Self {
        Self {
            full_at: AtomicU64::new(0),
            spacing,
        }
    }

    /// Takes a token, or says after how many nanoseconds there will be one.
    #[inline(always)]
    pub(crate) fn take(&self, now: u64) -> Result<(), Duration> {
        let Spacing {
            scale,
            interval,
            tolerance,
        } = self.spacing;
        let now = if scale == 1 {
            now
        } else {
            now.saturating_mul(scale)
        };
        // Relaxed: the word guards nothing but itself.
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let base = full_at.max(now);
            let ahead = base - now;
            if ahead > tolerance {
                let wait = (ahead - tolerance).div_ceil(scale);
                return Err(Duration::from_nanos(wait));
            }
            // At the end of time, 36 years or more after the clock's origin, the bucket stays shut.
            let Some(next) = base.checked_add(interval) else {
                return Err(Duration::MAX);
            };
            let Err(seen) = self.full_at.compare_exchange_weak(
                full_at,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) else {
                return Ok(());
            };
            full_at = seen;
        }
    }

    /// Returns how many tokens there are.
    pub(crate) fn available(&self, now: u64) -> u32 {
        let now = now.saturating_mul(self.spacing.scale);
        let full_at = self.full_at.load(Ordering::Relaxed);
        let ahead = full_at.saturating_sub(now);
        match self.spacing.tolerance.checked_sub(ahead) {
            Some(room) => u32::try_from(room / self.spacing.interval + 1).unwrap_or(u32::MAX),
            None => 0,
        }
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Quota;

    const SECOND: u64 = 1_000_000_000;

    fn bucket(count: u32, per: Duration, burst: u32) -> Bucket {
        let quota = Quota::new(count, per).unwrap().burst(burst).unwrap();
        Bucket::new(quota.spacing())
    }

    /// The bound of every window, in the plainest arithmetic there is: the most that was admitted in excess of burst + rate × time,
    /// in tokens times the period.
    fn worst_excess(admitted: &[u64], count: u32, per: Duration, burst: u32) -> i128 {
        let (count, per) = (i128::from(count), per.as_nanos() as i128);
        let mut worst = i128::MIN;
        for (i, first) in admitted.iter().enumerate() {
            for (j, last) in admitted.iter().enumerate().skip(i) {
                let calls = (j - i + 1) as i128;
                let time = i128::from(last - first);
                worst = worst.max((calls - i128::from(burst)) * per - count * time);
            }
        }
        worst
    }

    fn quotas() -> impl Strategy<Value = (u32, Duration, u32)> {
        let rates = prop_oneof![
            Just((10, SECOND)),
            Just((1, 30 * 24 * 3600 * SECOND)),
            Just((1_000_000_000, SECOND)),
            (1..=u32::MAX, Just(SECOND)),
            (1..1000u32, 1..10 * SECOND),
        ];
        (rates, 1..20u32)
            .prop_map(|((count, per), burst)| (count, Duration::from_nanos(per), burst))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// RL-01, RL-04, RL-05, RL-06: over every window, whatever the schedule, also with timestamps out of order.
        #[test]
        fn no_window_admits_more_than_burst_plus_rate(
            (count, per, burst) in quotas(),
            steps in prop::collection::vec((0..=4u32, 0..100u64), 1..60),
        ) {
            let bucket = bucket(count, per, burst);
            let interval = (per.as_nanos() as u64 / u64::from(count)).max(1);
            let mut now = 100 * SECOND;
            let mut admitted = Vec::new();
            for (kind, size) in steps {
                now = match kind {
                    0 => now,
                    1 => now + size,
                    2 => now + interval.saturating_mul(size) / 50,
                    3 => now + interval.saturating_mul(1000).min(1 << 52),
                    _ => now - size.min(now),
                };
                if bucket.take(now).is_ok() {
                    admitted.push(now);
                }
            }
            admitted.sort_unstable();
            prop_assert!(worst_excess(&admitted, count, per, burst) <= 0);
        }

        /// RL-03: refused until the wait is over, to the nanosecond, and admitted then.
        #[test]
        fn the_wait_is_exact((count, per, burst) in quotas(), offset in 0..SECOND) {
            let bucket = bucket(count, per, burst);
            let now = SECOND + offset;
            let mut refused = None;
            for _ in 0..=burst {
                refused = bucket.take(now).err();
            }
            let wait = refused.expect("the burst is used up").as_nanos() as u64;
            prop_assert!(wait >= 1);
            prop_assert!(bucket.take(now + wait - 1).is_err());
            prop_assert!(bucket.take(now + wait).is_ok());
        }
    }

    /// RL-02: under saturation nothing is lost, where the interval is exact, and next to nothing where it is not.
    #[test]
    fn saturation_gets_the_whole_rate() {
        for (count, step) in [
            (10, 1_000_000),
            (1000, 100_000),
            (30_000, 3_000),
            (1_000_000, 100),
        ] {
            let bucket = bucket(count, Duration::from_secs(1), 10);
            let start = 5 * SECOND;
            let calls = (0..=10 * SECOND / step).filter(|i| bucket.take(start + i * step).is_ok());
            let admitted = calls.count() as u64;
            assert!(
                admitted + 1 >= 10 + 10 * u64::from(count),
                "{count}: {admitted}"
            );
        }
    }

    /// RL-04: rest does not fill the bucket beyond its brim.
    #[test]
    fn after_a_long_rest_exactly_the_burst_is_admitted() {
        let bucket = bucket(10, Duration::from_secs(1), 10);
        for now in [SECOND, 1000 * SECOND, u64::MAX / 32] {
            assert_eq!((0..100).filter(|_| bucket.take(now).is_ok()).count(), 10);
        }
    }

    /// RL-06: at the end of time the bucket stays shut rather than wrap.
    #[test]
    fn time_that_runs_out_mints_nothing() {
        let bucket = bucket(1_000_000_000, Duration::from_secs(1), 10);
        assert!((0..100).all(|_| bucket.take(u64::MAX).is_err()));
    }

    /// RL-01, RL-05: eight threads, a clock that all move at random, a million attempts.
    #[test]
    fn threads_share_one_bucket() {
        use std::sync::{Mutex, atomic::AtomicU64};

        let bucket = bucket(10, Duration::from_secs(1), 10);
        let clock = AtomicU64::new(SECOND);
        let admitted = Mutex::new(Vec::new());
        std::thread::scope(|threads| {
            for seed in 1..=8u64 {
                let (bucket, clock, admitted) = (&bucket, &clock, &admitted);
                threads.spawn(move || {
                    let mut random = seed;
                    for _ in 0..125_000 {
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1);
                        let now =
                            clock.fetch_add(random >> 46, std::sync::atomic::Ordering::SeqCst);
                        if bucket.take(now).is_ok() {
                            // Read again: never earlier than the moment of admission.
                            let now = clock.load(std::sync::atomic::Ordering::SeqCst);
                            admitted.lock().unwrap().push((now, random));
                        }
                    }
                });
            }
        });
        // Between taking a token and reading the clock again a thread may be held up, which only crowds its neighbours' window; the
        // total is exact.
        let admitted = admitted.into_inner().unwrap().len() as u64;
        let spent = clock.into_inner() - SECOND;
        assert!(admitted <= 10 + 10 * spent / SECOND);
        assert!(admitted + 2 >= 10 * spent / SECOND);
    }

    #[test]
    fn what_is_available_is_what_can_be_taken() {
        let bucket = bucket(10, Duration::from_secs(1), 5);
        for left in (0..5).rev() {
            bucket.take(SECOND).unwrap();
            assert_eq!(bucket.available(SECOND), left);
        }
        assert_eq!(bucket.available(SECOND + 99_999_999), 0);
        assert_eq!(bucket.available(SECOND + 100_000_000), 1);
        assert_eq!(bucket.available(100 * SECOND), 5);
    }
}

#[cfg(all(test, towerkit_loom))]
mod loom_models {
    use std::time::Duration;

    use loom::{sync::Arc, thread};

    use super::Bucket;
    use crate::Quota;

    const SECOND: u64 = 1_000_000_000;

    fn bucket(burst: u32) -> Arc<Bucket> {
        let quota = Quota::new(1, Duration::from_secs(1)).unwrap();
        Arc::new(Bucket::new(quota.burst(burst).unwrap().spacing()))
    }

    fn race(burst: u32, times: [[u64; 2]; 2]) -> usize {
        let bucket = bucket(burst);
        let threads = times.map(|times| {
            let bucket = bucket.clone();
            thread::spawn(move || {
                times
                    .iter()
                    .filter(|now| bucket.take(**now).is_ok())
                    .count()
            })
        });
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    }

    /// RL-01, RL-05: in every interleaving of two threads with two calls each.
    #[test]
    fn loom_no_interleaving_mints_a_token() {
        loom::model(|| assert_eq!(race(2, [[SECOND; 2]; 2]), 2));
    }

    /// RL-05: timestamps that arrive out of order.
    #[test]
    fn loom_an_early_timestamp_mints_no_token() {
        loom::model(|| {
            let admitted = race(1, [[2 * SECOND, SECOND], [3 * SECOND, SECOND]]);
            assert!((1..=2).contains(&admitted));
        });
    }
}
