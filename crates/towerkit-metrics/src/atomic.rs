//! The instruments of the built-in [`Registry`](crate::Registry), built on atomics only.
//!
//! A scrape reads independent numbers and no decision depends on them, so orderings are relaxed except where a comment gives a reason.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicI64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use towerkit_core::TraceIds;

use crate::{
    Buckets, Counter, Gauge, Histogram, HistogramSnapshot,
    exemplars::{Exemplar, Exemplars},
    striped::{CacheLine, Cells, Striped, cache_lines},
};

#[derive(Debug)]
pub(crate) struct AtomicCounter(Striped<CacheLine>);

impl AtomicCounter {
    pub(crate) fn new() -> Self {
        Self(Striped::new(Box::default))
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.sum(0)
    }
}

impl Counter for AtomicCounter {
    #[inline]
    fn add(&self, by: u64) {
        self.0.local(Box::default).cell(0).fetch_add(by, Relaxed);
    }
}

/// A [`Counter`] whose value is read from a function of the program.
#[derive(Clone)]
pub(crate) struct ObservableCounter(Arc<dyn Fn() -> u64 + Send + Sync>);

impl ObservableCounter {
    pub(crate) fn new(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    pub(crate) fn value(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for ObservableCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObservableCounter")
    }
}

/// A [`Gauge`] as two sums that only increase, and the base that they are added to.
///
/// With one cell for both sums, a scrape could see the end of a call that moved to another thread, but not its start.
#[derive(Debug)]
pub(crate) struct AtomicGauge {
    base: AtomicI64,
    moves: Striped<CacheLine>,
}

/// The cells of a gauge.
const UP: usize = 0;
const DOWN: usize = 1;

impl AtomicGauge {
    pub(crate) fn new() -> Self {
        Self {
            base: AtomicI64::new(0),
            moves: Striped::new(Box::default),
        }
    }

    pub(crate) fn value(&self) -> i64 {
        let moved = self.moved();
        self.base.load(Relaxed).wrapping_add(moved)
    }

    fn moved(&self) -> i64 {
        // Acquire, and read first: a scrape that sees an end also sees its start.
        let down = self
            .moves
            .copies()
            .map(|copy| copy.cell(DOWN).load(Acquire));
        let down = down.fold(0, u64::wrapping_add);
        self.moves.sum(UP).wrapping_sub(down).cast_signed()
    }
}

impl Gauge for AtomicGauge {
    #[inline]
    fn add(&self, by: i64) {
        let local = self.moves.local(Box::default);
        if by < 0 {
            local.cell(DOWN).fetch_add(by.unsigned_abs(), Release);
        } else {
            local.cell(UP).fetch_add(by.unsigned_abs(), Relaxed);
        }
    }

    /// Sets the value. A concurrent addition counts as made before or after.
    fn set(&self, to: i64) {
        self.base.store(to.wrapping_sub(self.moved()), Relaxed);
    }
}

/// A [`Histogram`] with a count per bucket. The total count is their sum, so a scrape cannot show a total that differs from its buckets.
///
/// The sum of the values has two parts: nanoseconds as an integer, so that a duration costs one integer addition, and a float for other
/// values. The nanoseconds wrap after 584 years of calls, which a rate treats as a restart.
#[derive(Debug)]
pub(crate) struct AtomicHistogram {
    buckets: Buckets,
    cells: Striped<[CacheLine]>,
    /// Created with the first exemplar, so that programs without tracing use no memory for them.
    exemplars: OnceLock<Exemplars>,
}

/// The cells of a histogram. The float sum is next to the nanoseconds, because most calls do not touch it.
const NANOS: usize = 0;
const SUM: usize = 1;
const BUCKETS: usize = 2;

/// Creates the cells of a histogram: two sums, one cell per bound, and one for the values above the last bound.
fn cells(buckets: &Buckets) -> Box<[CacheLine]> {
    cache_lines(BUCKETS + buckets.bounds().len() + 1)
}

impl AtomicHistogram {
    pub(crate) fn new(buckets: &Buckets) -> Self {
        Self {
            cells: Striped::new(|| cells(buckets)),
            buckets: buckets.clone(),
            exemplars: OnceLock::new(),
        }
    }

    /// Reads the counts and the sum.
    pub(crate) fn snapshot(&self) -> HistogramSnapshot {
        let buckets = BUCKETS..=BUCKETS + self.buckets.bounds().len();
        HistogramSnapshot {
            bounds: self.buckets.shared(),
            counts: buckets.map(|bucket| self.cells.sum(bucket)).collect(),
            sum: self.sum(),
            exemplars: self.exemplars.get().map(Exemplars::all).unwrap_or_default(),
        }
    }

    /// Returns the sum, which as a float is exact to the nanosecond up to 104 days.
    pub(crate) fn sum(&self) -> f64 {
        let sums = self.cells.copies().map(|copy| copy.cell(SUM).load(Relaxed));
        let sum: f64 = sums.map(f64::from_bits).sum();
        sum + self.cells.sum(NANOS) as f64 / 1e9
    }

    #[cold]
    #[inline(never)]
    fn record_exemplar(&self, exemplar: Exemplar) {
        // The bucket is found by the value in seconds, because the exemplar is shown in seconds.
        if let Some(bucket) = self.buckets.index_of(exemplar.value) {
            let exemplars = || Exemplars::new(self.buckets.bounds().len() + 1);
            let exemplars = self.exemplars.get_or_init(exemplars);
            exemplars.store(bucket, exemplar);
        }
    }
}

impl Histogram for AtomicHistogram {
    #[inline]
    fn observe(&self, value: f64) {
        if let Some(bucket) = self.buckets.index_of(value) {
            let cells = self.cells.local(|| cells(&self.buckets));
            cells.cell(BUCKETS + bucket).fetch_add(1, Relaxed);
            let add = |sum| Some((f64::from_bits(sum) + value).to_bits());
            let _ = cells.cell(SUM).fetch_update(Relaxed, Relaxed, add);
            if let Some(ids) = TraceIds::recorded() {
                self.record_exemplar(Exemplar { ids, value });
            }
        }
    }

    #[inline]
    fn observe_nanos(&self, nanos: u64) {
        let bucket = self.buckets.index_of_nanos(nanos);
        let cells = self.cells.local(|| cells(&self.buckets));
        cells.cell(BUCKETS + bucket).fetch_add(1, Relaxed);
        cells.cell(NANOS).fetch_add(nanos, Relaxed);
        if let Some(ids) = TraceIds::recorded() {
            let value = nanos as f64 / 1e9;
            self.record_exemplar(Exemplar { ids, value });
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
        let counts = histogram.snapshot();
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
    fn extreme_values_do_not_corrupt_the_sum() {
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

    /// MT-04: a scrape never shows the end of a call before its start, even if the call moved to another thread.
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

    /// Each thread adds to its own copy, and the value is the sum of the copies.
    #[test]
    fn values_added_by_many_threads_are_counted_once() {
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

        /// A duration is counted in the bucket of its seconds, except for the rounding of a bound to a nanosecond.
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
