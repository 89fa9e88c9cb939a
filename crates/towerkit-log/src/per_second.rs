use std::sync::atomic::{AtomicU64, Ordering};

/// Limits events to a number per second of a clock, with the second and its count in one atomic word.
#[derive(Debug)]
pub(crate) struct PerSecondLimit(AtomicU64);

impl PerSecondLimit {
    const NANOS_PER_SECOND: u64 = 1_000_000_000;

    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Returns true if the second of `now`, in nanoseconds, has admitted fewer than `max` events.
    ///
    /// If the clock steps back, the latest second continues. The word wraps after 136 years, and may then reject one second of events.
    pub(crate) fn admit(&self, now: u64, max: u32) -> bool {
        let second = (now / Self::NANOS_PER_SECOND) & u64::from(u32::MAX);
        // Relaxed: no other data depends on this word.
        let admit = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let (latest, count) = (word >> 32, word as u32);
                let (second, count) = if second > latest {
                    (second, 0)
                } else {
                    (latest, count)
                };
                (count < max).then(|| second << 32 | u64::from(count + 1))
            });
        admit.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn each_second_admits_up_to_the_limit(
            start in prop_oneof![Just(0), 0..1_u64 << 62],
            calls in prop::collection::vec((-1_500_000_000..1_500_000_000_i64, 0..5_u32), 1..60),
        ) {
            let limit = PerSecondLimit::new();
            let (mut now, mut latest) = (start, 0);
            let mut admitted = HashMap::<u64, u32>::new();
            for (step, max) in calls {
                now = now.saturating_add_signed(step);
                // In whole seconds, each with a count of its own.
                let second = now.div_euclid(1_000_000_000) % (1 << 32);
                let count = admitted.entry(second.max(latest)).or_default();
                let fits = *count < max;
                if fits {
                    *count += 1;
                    latest = latest.max(second);
                }
                prop_assert_eq!(limit.admit(now, max), fits);
            }
        }
    }

    #[test]
    fn many_threads_together_stay_within_the_limit() {
        let limit = PerSecondLimit::new();
        let admit = || (0..1000).filter(|_| limit.admit(5, 700)).count();
        let all: usize = std::thread::scope(|scope| {
            let threads = [scope.spawn(admit), scope.spawn(admit), scope.spawn(admit)];
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert_eq!(all, 700);
    }
}
