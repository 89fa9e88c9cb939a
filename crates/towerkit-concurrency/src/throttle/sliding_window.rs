use crate::sync::{AtomicU64, Mutex, Ordering};

/// Counts calls, and the accepted ones among them, over a window that slides by one bucket at a time.
///
/// Both counts share one word, so that they are read together. The totals are kept beside the buckets, so that no reader has to sum
/// them. A count is added to the totals first, and subtracted from them last, so that the totals are never below the sum of the
/// buckets.
pub(crate) struct SlidingWindow {
    buckets: Box<[AtomicU64]>,
    totals: AtomicU64,
    /// The number of the current bucket since the origin of the clock.
    current: AtomicU64,
    /// Held by the thread that clears the buckets that left the window.
    sliding: Mutex<()>,
    bucket_length: u64,
}

/// The counts of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u32,
    pub(crate) accepted: u32,
}

const CALL: u64 = 1;
const ACCEPTED: u64 = 1 << 32;

impl SlidingWindow {
    pub(crate) const BUCKETS: u64 = 24;

    /// Creates an empty window of a length in nanoseconds.
    pub(crate) fn new(length: u64) -> Self {
        Self {
            buckets: (0..Self::BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            totals: AtomicU64::new(0),
            current: AtomicU64::new(0),
            sliding: Mutex::new(()),
            bucket_length: (length / Self::BUCKETS).max(1),
        }
    }

    /// Returns the [`Counts`] of the window that ends now.
    pub(crate) fn counts(&self, now: u64) -> Counts {
        self.advance(now);
        let totals = self.totals.load(Ordering::Relaxed);
        Counts {
            calls: totals as u32,
            accepted: (totals >> 32) as u32,
        }
    }

    /// Counts a call.
    pub(crate) fn record_call(&self) {
        self.add(CALL);
    }

    /// Counts a call that the upstream accepted.
    pub(crate) fn record_accepted(&self, now: u64) {
        self.advance(now);
        self.add(ACCEPTED);
    }

    fn add(&self, count: u64) {
        // Relaxed: only the order of these two additions matters, and only to `slide`, to which Release shows it.
        self.totals.fetch_add(count, Ordering::Relaxed);
        self.bucket(self.current.load(Ordering::Relaxed))
            .fetch_add(count, Ordering::Release);
    }

    /// Moves the window to `now`, unless another thread does.
    #[inline]
    fn advance(&self, now: u64) {
        let number = now / self.bucket_length;
        // A clock that steps back does not move the window.
        if number > self.current.load(Ordering::Relaxed) {
            self.slide(number);
        }
    }

    #[cold]
    fn slide(&self, number: u64) {
        let Ok(_sliding) = self.sliding.try_lock() else {
            return;
        };
        let current = self.current.load(Ordering::Relaxed);
        let first = number.saturating_sub(Self::BUCKETS - 1).max(current + 1);
        for expired in first..=number {
            let count = self.bucket(expired).swap(0, Ordering::Acquire);
            self.totals.fetch_sub(count, Ordering::Relaxed);
        }
        self.current.fetch_max(number, Ordering::Relaxed);
    }

    fn bucket(&self, number: u64) -> &AtomicU64 {
        &self.buckets[(number % Self::BUCKETS) as usize]
    }
}

impl Counts {
    /// The number of calls below which the counts are too few to reject calls.
    const MIN_CALLS: u32 = 10;

    /// Returns the probability of rejection with which about `multiplier` calls are sent for each accepted call.
    pub(crate) fn rejection_probability(self, multiplier: f64) -> f64 {
        if self.calls < Self::MIN_CALLS {
            return 0.0;
        }
        let (calls, accepted) = (f64::from(self.calls), f64::from(self.accepted));
        ((calls - multiplier * accepted) / (calls + 1.0)).max(0.0)
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

    /// Counts the calls of the last buckets in the whole history.
    fn model(history: &[(i128, bool)], now: i128) -> (usize, usize) {
        let oldest = now - (SlidingWindow::BUCKETS as i128 - 1);
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

        /// LS-09: exactly the calls in the window are counted.
        #[test]
        fn the_sliding_window_agrees_with_the_model(steps in prop::collection::vec(step(), 1..40)) {
            const BUCKET: u64 = 10;
            let window = SlidingWindow::new(BUCKET * SlidingWindow::BUCKETS);
            let (mut now, mut latest) = (1_000_u64, 0_i128);
            let mut history = Vec::new();
            for step in steps {
                match step {
                    Step::Advance(time) => now += time,
                    Step::Back(time) => now -= time,
                    _ => {}
                }
                latest = latest.max((now / BUCKET).into());
                let counts = window.counts(now);
                match step {
                    Step::Call => {
                        window.record_call();
                        history.push((latest, false));
                    }
                    Step::Accept => {
                        window.record_accepted(now);
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
        fn the_probability_of_rejection_is_below_one(calls: u32, accepted: u32, multiplier in 1.0..1e9_f64) {
            let probability = Counts { calls, accepted }.rejection_probability(multiplier);
            prop_assert!((0.0..1.0).contains(&probability));
        }
    }
}
