use crate::sync::{AtomicU64, Mutex, Ordering};

/// Calls and how many of them were accepted, over a window that slides by one bucket at a time.
///
/// A pair of counts is one word, so that both are always read together. The totals are kept beside the buckets, so that nobody has to
/// add them up. A count goes into the totals first and comes out of them last, so that the totals never fall below the sum of the
/// buckets.
pub(crate) struct Tally {
    buckets: Box<[AtomicU64]>,
    totals: AtomicU64,
    /// The number of the bucket that is filled at the moment, counted from the origin of the clock.
    current: AtomicU64,
    /// Held by who empties the buckets that have left the window.
    moving: Mutex<()>,
    bucket: u64,
}

/// What was counted in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u32,
    pub(crate) accepted: u32,
}

const CALL: u64 = 1;
const ACCEPTED: u64 = 1 << 32;

impl Tally {
    pub(crate) const BUCKETS: u64 = 24;

    /// Makes a tally over a window of so many nanoseconds.
    pub(crate) fn new(window: u64) -> Self {
        Self {
            buckets: (0..Self::BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            totals: AtomicU64::new(0),
            current: AtomicU64::new(0),
            moving: Mutex::new(()),
            bucket: (window / Self::BUCKETS).max(1),
        }
    }

    /// Returns what was counted in the window that ends now.
    pub(crate) fn counts(&self, now: u64) -> Counts {
        self.move_to(now);
        let totals = self.totals.load(Ordering::Relaxed);
        Counts {
            calls: totals as u32,
            accepted: (totals >> 32) as u32,
        }
    }

    /// Counts a call.
    pub(crate) fn call(&self) {
        self.add(CALL);
    }

    /// Counts the acceptance of a call.
    pub(crate) fn accept(&self, now: u64) {
        self.move_to(now);
        self.add(ACCEPTED);
    }

    fn add(&self, count: u64) {
        // Relaxed: only the order of these two matters, to who empties the bucket, and Release gives it that.
        self.totals.fetch_add(count, Ordering::Relaxed);
        self.bucket(self.current.load(Ordering::Relaxed))
            .fetch_add(count, Ordering::Release);
    }

    /// Empties what has left the window, unless another thread does so.
    #[inline]
    fn move_to(&self, now: u64) {
        let number = now / self.bucket;
        // A clock that steps back moves nothing.
        if number > self.current.load(Ordering::Relaxed) {
            self.slide(number);
        }
    }

    #[cold]
    fn slide(&self, number: u64) {
        let Ok(_moving) = self.moving.try_lock() else {
            return;
        };
        let current = self.current.load(Ordering::Relaxed);
        let first = number.saturating_sub(Self::BUCKETS - 1).max(current + 1);
        for old in first..=number {
            let left = self.bucket(old).swap(0, Ordering::Acquire);
            self.totals.fetch_sub(left, Ordering::Relaxed);
        }
        self.current.fetch_max(number, Ordering::Relaxed);
    }

    fn bucket(&self, number: u64) -> &AtomicU64 {
        &self.buckets[(number % Self::BUCKETS) as usize]
    }
}

impl Counts {
    /// So few calls say nothing about the callee.
    const FEW: u32 = 10;

    /// Returns the share of calls to reject, so that no more than `multiple` times as many are sent as are accepted.
    pub(crate) fn rejections(self, multiple: f64) -> f64 {
        if self.calls < Self::FEW {
            return 0.0;
        }
        let (calls, accepted) = (f64::from(self.calls), f64::from(self.accepted));
        ((calls - multiple * accepted) / (calls + 1.0)).max(0.0)
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Call,
        Accept,
        Advance(u64),
        Back(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => Just(Step::Call),
            8 => Just(Step::Accept),
            4 => (0..30_u64).prop_map(Step::Advance),
            1 => (0..400_u64).prop_map(Step::Advance),
            1 => (0..50_u64).prop_map(Step::Back),
        ]
    }

    /// The counts of those that lie less than a window of buckets back, from the whole history.
    fn model(history: &[(i128, bool)], now: i128) -> (usize, usize) {
        let oldest = now - (Tally::BUCKETS as i128 - 1);
        let count = |wanted| {
            let counts =
                |(bucket, accepted): &&(i128, bool)| *bucket >= oldest && *accepted == wanted;
            history.iter().filter(counts).count()
        };
        (count(false), count(true))
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// LS-09: what is in the window is counted, and nothing else.
        #[test]
        fn the_tally_does_what_the_model_does(steps in prop::collection::vec(step(), 1..40)) {
            const BUCKET: u64 = 10;
            let tally = Tally::new(BUCKET * Tally::BUCKETS);
            let (mut now, mut latest) = (1_000_u64, 0_i128);
            let mut history = Vec::new();
            for step in steps {
                match step {
                    Step::Advance(time) => now += time,
                    Step::Back(time) => now -= time,
                    _ => {}
                }
                latest = latest.max((now / BUCKET).into());
                let counts = tally.counts(now);
                match step {
                    Step::Call => {
                        tally.call();
                        history.push((latest, false));
                    }
                    Step::Accept => {
                        tally.accept(now);
                        history.push((latest, true));
                    }
                    _ => {
                        let (calls, accepted) = model(&history, latest);
                        prop_assert_eq!((counts.calls as usize, counts.accepted as usize), (calls, accepted));
                    }
                }
            }
        }

        #[test]
        fn the_share_of_rejections_is_one_at_most(calls: u32, accepted: u32, multiple in 1.0..1e9_f64) {
            let share = Counts { calls, accepted }.rejections(multiple);
            prop_assert!((0.0..1.0).contains(&share));
        }
    }
}
