//! The instruments of the built-in registry: atomics only.
//!
//! Every ordering is relaxed: a scrape is a set of numbers that were each true a moment ago, and nothing is decided by them.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use towerkit_core::TraceIds;

use crate::{
    Buckets, Counter, Distribution, Gauge, Histogram,
    exemplars::{Exemplar, Exemplars},
};

#[derive(Debug, Default)]
pub(crate) struct AtomicCounter(AtomicU64);

impl AtomicCounter {
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counter for AtomicCounter {
    #[inline]
    fn add(&self, by: u64) {
        self.0.fetch_add(by, Relaxed);
    }
}

#[derive(Debug, Default)]
pub(crate) struct AtomicGauge(AtomicI64);

impl AtomicGauge {
    pub(crate) fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

impl Gauge for AtomicGauge {
    #[inline]
    fn add(&self, by: i64) {
        self.0.fetch_add(by, Relaxed);
    }

    #[inline]
    fn set(&self, to: i64) {
        self.0.store(to, Relaxed);
    }
}

/// Counts per bucket; the count of all is their sum, so that no scrape can show one that they do not add up to.
///
/// The sum stands in two parts, so that a duration costs one addition of integers: nanoseconds, and a float for other values.
/// The nanoseconds wrap after 584 years of calls, which looks like a restart to who reads the rate.
#[derive(Debug)]
pub(crate) struct AtomicHistogram {
    bounds: Arc<[f64]>,
    buckets: Box<[Bucket]>,
    nanos: AtomicU64,
    sum: AtomicU64,
    /// Made with the first exemplar, so that who does not trace has no room for them.
    exemplars: OnceLock<Exemplars>,
}

/// A bound and its count stand together, in one cache line.
#[derive(Debug)]
struct Bucket {
    nanos: u64,
    bound: f64,
    count: AtomicU64,
}

impl Bucket {
    fn new(bound: f64) -> Self {
        Self {
            nanos: nanos(bound),
            bound,
            count: AtomicU64::new(0),
        }
    }
}

fn nanos(seconds: f64) -> u64 {
    // The cast saturates, as it should: no duration is negative or above 584 years.
    (seconds * 1e9).round() as u64
}

impl AtomicHistogram {
    pub(crate) fn new(buckets: &Buckets) -> Self {
        let bounds = buckets.bounds().iter().copied();
        Self {
            bounds: buckets.shared(),
            buckets: bounds.chain([f64::INFINITY]).map(Bucket::new).collect(),
            nanos: AtomicU64::new(0),
            sum: AtomicU64::new(0.0_f64.to_bits()),
            exemplars: OnceLock::new(),
        }
    }

    /// Reads the counts and the sum.
    pub(crate) fn distribution(&self) -> Distribution {
        let counts = self.buckets.iter().map(|bucket| bucket.count.load(Relaxed));
        Distribution {
            bounds: self.bounds.clone(),
            counts: counts.collect(),
            sum: self.sum(),
            exemplars: self.exemplars.get().map(Exemplars::all).unwrap_or_default(),
        }
    }

    #[cold]
    #[inline(never)]
    fn exemplify(&self, exemplar: Exemplar) {
        // The bucket by the seconds, so that it has room for what is shown as seconds.
        let fits = |bucket: &Bucket| exemplar.value <= bucket.bound;
        if let Some(bucket) = self.buckets.iter().position(fits) {
            let exemplars = || Exemplars::new(self.buckets.len());
            let exemplars = self.exemplars.get_or_init(exemplars);
            exemplars.keep(bucket, exemplar);
        }
    }

    /// Returns the sum; as a float it is exact to the nanosecond up to 104 days.
    pub(crate) fn sum(&self) -> f64 {
        f64::from_bits(self.sum.load(Relaxed)) + self.nanos.load(Relaxed) as f64 / 1e9
    }
}

impl Histogram for AtomicHistogram {
    #[inline]
    fn observe(&self, value: f64) {
        if let Some(bucket) = self.buckets.iter().find(|bucket| value <= bucket.bound) {
            bucket.count.fetch_add(1, Relaxed);
            let add = |sum| Some((f64::from_bits(sum) + value).to_bits());
            let _ = self.sum.fetch_update(Relaxed, Relaxed, add);
            if let Some(ids) = TraceIds::recorded() {
                self.exemplify(Exemplar { ids, value });
            }
        }
    }

    #[inline]
    fn observe_nanos(&self, nanos: u64) {
        if let Some(bucket) = self.buckets.iter().find(|bucket| nanos <= bucket.nanos) {
            bucket.count.fetch_add(1, Relaxed);
            self.nanos.fetch_add(nanos, Relaxed);
            if let Some(ids) = TraceIds::recorded() {
                let value = nanos as f64 / 1e9;
                self.exemplify(Exemplar { ids, value });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
