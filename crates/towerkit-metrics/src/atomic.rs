//! The instruments of the built-in registry: atomics only.
//!
//! A scrape is a set of numbers that were each true a moment ago, and nothing is decided by them: orderings are relaxed but where it
//! says why.

use std::sync::{
    OnceLock,
    atomic::{
        AtomicI64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use towerkit_core::TraceIds;

use crate::{
    Buckets, Counter, Gauge, Histogram, HistogramSnapshot,
    exemplars::{Exemplar, Exemplars},
    stripes::{Line, Stripes, Words, lines},
};

#[derive(Debug)]
pub(crate) struct AtomicCounter(Stripes<Line>);

impl AtomicCounter {
    pub(crate) fn new() -> Self {
        Self(Stripes::new(Box::default))
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.sum(0)
    }
}

impl Counter for AtomicCounter {
    #[inline]
    fn add(&self, by: u64) {
        self.0.own(Box::default).word(0).fetch_add(by, Relaxed);
    }
}

/// What was added and what was taken off, each of which only rises, and what these are counted from.
///
/// Were there one word for both, a scrape could find the end of a call that moved to another thread, and not its start.
#[derive(Debug)]
pub(crate) struct AtomicGauge {
    base: AtomicI64,
    moves: Stripes<Line>,
}

/// The words of a gauge.
const UP: usize = 0;
const DOWN: usize = 1;

impl AtomicGauge {
    pub(crate) fn new() -> Self {
        Self {
            base: AtomicI64::new(0),
            moves: Stripes::new(Box::default),
        }
    }

    pub(crate) fn value(&self) -> i64 {
        let moved = self.moved();
        self.base.load(Relaxed).wrapping_add(moved)
    }

    fn moved(&self) -> i64 {
        // Acquire, and first: whoever finds an end finds its start as well.
        let down = self.moves.all().map(|copy| copy.word(DOWN).load(Acquire));
        let down = down.fold(0, u64::wrapping_add);
        self.moves.sum(UP).wrapping_sub(down).cast_signed()
    }
}

impl Gauge for AtomicGauge {
    #[inline]
    fn add(&self, by: i64) {
        let own = self.moves.own(Box::default);
        if by < 0 {
            own.word(DOWN).fetch_add(by.unsigned_abs(), Release);
        } else {
            own.word(UP).fetch_add(by.unsigned_abs(), Relaxed);
        }
    }

    /// What is added meanwhile counts as before or as after.
    fn set(&self, to: i64) {
        self.base.store(to.wrapping_sub(self.moved()), Relaxed);
    }
}

/// Counts per bucket; the count of all is their sum, so that no scrape can show one that they do not add up to.
///
/// The sum stands in two parts, so that a duration costs one addition of integers: nanoseconds, and a float for other values.
/// The nanoseconds wrap after 584 years of calls, which looks like a restart to who reads the rate.
#[derive(Debug)]
pub(crate) struct AtomicHistogram {
    buckets: Buckets,
    words: Stripes<[Line]>,
    /// Made with the first exemplar, so that who does not trace has no room for them.
    exemplars: OnceLock<Exemplars>,
}

/// The words of a histogram. The sum of values stands first among the buckets', which most calls do not touch; it is a float.
const NANOS: usize = 0;
const SUM: usize = 1;
const BUCKETS: usize = 2;

/// Makes the words of a histogram, with a bucket for each bound and one for the rest.
fn words(buckets: &Buckets) -> Box<[Line]> {
    lines(BUCKETS + buckets.bounds().len() + 1)
}

impl AtomicHistogram {
    pub(crate) fn new(buckets: &Buckets) -> Self {
        Self {
            words: Stripes::new(|| words(buckets)),
            buckets: buckets.clone(),
            exemplars: OnceLock::new(),
        }
    }

    /// Reads the counts and the sum.
    pub(crate) fn distribution(&self) -> HistogramSnapshot {
        let buckets = BUCKETS..=BUCKETS + self.buckets.bounds().len();
        HistogramSnapshot {
            bounds: self.buckets.shared(),
            counts: buckets.map(|bucket| self.words.sum(bucket)).collect(),
            sum: self.sum(),
            exemplars: self.exemplars.get().map(Exemplars::all).unwrap_or_default(),
        }
    }

    /// Returns the sum; as a float it is exact to the nanosecond up to 104 days.
    pub(crate) fn sum(&self) -> f64 {
        let sums = self.words.all().map(|copy| copy.word(SUM).load(Relaxed));
        let sum: f64 = sums.map(f64::from_bits).sum();
        sum + self.words.sum(NANOS) as f64 / 1e9
    }

    #[cold]
    #[inline(never)]
    fn exemplify(&self, exemplar: Exemplar) {
        // The bucket by the seconds, so that it has room for what is shown as seconds.
        if let Some(bucket) = self.buckets.of(exemplar.value) {
            let exemplars = || Exemplars::new(self.buckets.bounds().len() + 1);
            let exemplars = self.exemplars.get_or_init(exemplars);
            exemplars.keep(bucket, exemplar);
        }
    }
}

impl Histogram for AtomicHistogram {
    #[inline]
    fn observe(&self, value: f64) {
        if let Some(bucket) = self.buckets.of(value) {
            let words = self.words.own(|| words(&self.buckets));
            words.word(BUCKETS + bucket).fetch_add(1, Relaxed);
            let add = |sum| Some((f64::from_bits(sum) + value).to_bits());
            let _ = words.word(SUM).fetch_update(Relaxed, Relaxed, add);
            if let Some(ids) = TraceIds::recorded() {
                self.exemplify(Exemplar { ids, value });
            }
        }
    }

    #[inline]
    fn observe_nanos(&self, nanos: u64) {
        let bucket = self.buckets.of_nanos(nanos);
        let words = self.words.own(|| words(&self.buckets));
        words.word(BUCKETS + bucket).fetch_add(1, Relaxed);
        words.word(NANOS).fetch_add(nanos, Relaxed);
        if let Some(ids) = TraceIds::recorded() {
            let value = nanos as f64 / 1e9;
            self.exemplify(Exemplar { ids, value });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use proptest::prelude::*;

    use super::*;

    fn counts(histogram: &AtomicHistogram) -> Vec<u64> {
        let mut total = 0;
        let counts = histogram.distribution();
        let counts = counts.counts().iter().map(|count| {
            total += count;
            total
        });
        counts.collect()
    }

    #[test]
    fn a_value_on_a_bound_belongs_to_it() {
        let histogram = AtomicHistogram::new(&Buckets::new([0.005, 1.0]).unwrap());
        histogram.observe_nanos(5_000_000);
        histogram.observe_nanos(5_000_001);
        histogram.observe(1.0);
        histogram.observe(1.5);
        assert_eq!(counts(&histogram), [1, 3, 4]);
    }

    #[test]
    fn no_value_is_too_large_and_none_spoils_the_sum() {
        let histogram = AtomicHistogram::new(&Buckets::new([-1.0, 1.0]).unwrap());
        histogram.observe(f64::NAN);
        histogram.observe(-2.0);
        histogram.observe_nanos(u64::MAX);
        assert_eq!(counts(&histogram), [1, 1, 2]);
        assert!(histogram.sum() > 1.8e10);
        histogram.observe(f64::INFINITY);
        assert_eq!(counts(&histogram), [1, 1, 3]);
        assert_eq!(histogram.sum(), f64::INFINITY);
    }

    /// MT-04: a call that ends elsewhere than it began is never seen to end before it began.
    #[test]
    fn a_gauge_never_shows_an_end_without_its_start() {
        const CALLS: i64 = 20_000;
        let gauge = AtomicGauge::new();
        let (begun, begins) = mpsc::channel();
        thread::scope(|scope| {
            let gauge = &gauge;
            scope.spawn(move || {
                for call in 0..CALLS {
                    gauge.add(1);
                    begun.send(call).unwrap();
                }
            });
            let ends = scope.spawn(move || begins.iter().for_each(|_| gauge.add(-1)));
            while !ends.is_finished() {
                let value = gauge.value();
                assert!((0..=CALLS).contains(&value), "{value}");
            }
        });
        assert_eq!(gauge.value(), 0);
    }

    /// Each thread has a copy, and they add up.
    #[test]
    fn what_many_threads_add_is_counted_once() {
        let (counter, gauge) = (AtomicCounter::new(), AtomicGauge::new());
        let histogram = AtomicHistogram::new(&Buckets::new([1.0]).unwrap());
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for n in 0..1000 {
                        counter.add(2);
                        gauge.add(if n % 2 == 0 { 3 } else { -1 });
                        histogram.observe(0.5);
                        histogram.observe_nanos(2_000_000_000);
                    }
                });
            }
        });
        assert_eq!(counter.value(), 40_000);
        assert_eq!(gauge.value(), 20_000);
        assert_eq!(counts(&histogram), [20_000, 40_000]);
        assert_eq!(histogram.sum(), 50_000.0);
        gauge.set(-7);
        gauge.add(i64::MIN);
        gauge.add(i64::MAX);
        assert_eq!(gauge.value(), -8);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// A duration lands in the same bucket as its seconds, but for the rounding of a bound to a nanosecond.
        #[test]
        fn nanoseconds_and_seconds_agree(nanos in 0..20_000_000_000_u64) {
            let [one, other] = [0, 1].map(|_| AtomicHistogram::new(&Buckets::default()));
            one.observe_nanos(nanos);
            other.observe(nanos as f64 / 1e9);
            prop_assert_eq!(counts(&one), counts(&other));
            prop_assert!((one.sum() - other.sum()).abs() < 1e-9);
        }
    }
}
