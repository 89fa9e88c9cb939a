use std::sync::atomic::{AtomicU64, Ordering};

/// At most so many in each second of a clock, counted in one word: the second, and how many came in it.
#[derive(Debug)]
pub(crate) struct Window(AtomicU64);

impl Window {
    const NANOS: u64 = 1_000_000_000;

    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Returns whether one more fits into the second of `now`.
    ///
    /// A time before that of the last one counts as that. The word wraps after 136 years, which at worst costs a second of them.
    pub(crate) fn admit(&self, now: u64, most: u32) -> bool {
        let second = (now / Self::NANOS) & u64::from(u32::MAX);
        // Relaxed: the word guards nothing but itself.
        let admit = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let (latest, count) = (word >> 32, word as u32);
                let (second, count) = if second > latest {
                    (second, 0)
                } else {
                    (latest, count)
                };
                (count < most).then(|| second << 32 | u64::from(count + 1))
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
        fn as_many_fit_into_a_second_as_are_allowed(
            start in prop_oneof![Just(0), 0..1_u64 << 62],
            calls in prop::collection::vec((-1_500_000_000..1_500_000_000_i64, 0..5_u32), 1..60),
        ) {
            let window = Window::new();
            let (mut now, mut latest) = (start, 0);
            let mut admitted = HashMap::<u64, u32>::new();
            for (step, most) in calls {
                now = now.saturating_add_signed(step);
                // In whole seconds, each with a count of its own.
                let second = now.div_euclid(1_000_000_000) % (1 << 32);
                let count = admitted.entry(second.max(latest)).or_default();
                let fits = *count < most;
                if fits {
                    *count += 1;
                    latest = latest.max(second);
                }
                prop_assert_eq!(window.admit(now, most), fits);
            }
        }
    }

    #[test]
    fn many_threads_get_no_more_than_one() {
        let window = Window::new();
        let admit = || (0..1000).filter(|_| window.admit(5, 700)).count();
        let all: usize = std::thread::scope(|scope| {
            let threads = [scope.spawn(admit), scope.spawn(admit), scope.spawn(admit)];
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert_eq!(all, 700);
    }
}
