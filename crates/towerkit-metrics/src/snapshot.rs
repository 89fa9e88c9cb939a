use std::sync::Arc;

use crate::exemplars::Exemplar;

/// All metrics of a [`Registry`](crate::Registry) at one moment, for exporters that push.
///
/// Returned by [`Registry::snapshot`](crate::Registry::snapshot). It is a copy, so no lock is held while it is encoded and sent.
///
/// ```
/// use towerkit_metrics::{Registry, Value};
///
/// let registry = Registry::new();
/// registry.counter("words_total", "Words.", &[("done", "uppercase")])?.add(2);
///
/// let snapshot = registry.snapshot();
/// let words = &snapshot.families()[0];
/// assert_eq!((words.name(), words.help(), words.unit()), ("words_total", "Words.", None));
/// let sample = &words.samples()[0];
/// assert_eq!(words.labels(sample).collect::<Vec<_>>(), [("done", "uppercase")]);
/// assert_eq!(sample.value(), &Value::Counter(2));
/// # Ok::<(), towerkit_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RegistrySnapshot {
    families: Vec<MetricFamily>,
}

/// A metric and all its series at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricFamily {
    pub(crate) name: Arc<str>,
    pub(crate) help: Arc<str>,
    pub(crate) kind: MetricKind,
    pub(crate) labels: Arc<[String]>,
    pub(crate) samples: Vec<Sample>,
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A value that only increases, from 0 at the creation of the registry.
    Counter,
    /// A value that increases and decreases.
    Gauge,
    /// A distribution of values over buckets.
    Histogram,
}

/// A series at one moment; [`MetricFamily::labels`] returns its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub(crate) labels: Arc<[Box<str>]>,
    pub(crate) value: Value,
}

/// The value of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// The value of a [`Counter`](crate::Counter).
    Counter(u64),
    /// The value of a [`Gauge`](crate::Gauge).
    Gauge(i64),
    /// The counts and the sum of a [`Histogram`](crate::Histogram).
    Histogram(HistogramSnapshot),
}

/// The counts and the sum of a [`Histogram`](crate::Histogram) since the creation of the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSnapshot {
    pub(crate) bounds: Arc<[f64]>,
    pub(crate) counts: Box<[u64]>,
    pub(crate) sum: f64,
    /// One per bucket, or empty.
    pub(crate) exemplars: Box<[Option<Exemplar>]>,
}

/// The [base units](https://prometheus.io/docs/practices/naming/#base-units) of Prometheus, one of which ends a name.
const UNITS: [&str; 9] = [
    "seconds", "bytes", "ratio", "celsius", "meters", "volts", "amperes", "joules", "grams",
];

/// Returns the unit at the end of a name, before `_total`.
pub(crate) fn unit(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix("_total").unwrap_or(name);
    let (_, last) = name.rsplit_once('_')?;
    UNITS.into_iter().find(|unit| *unit == last)
}

impl RegistrySnapshot {
    pub(crate) fn new(families: Vec<MetricFamily>) -> Self {
        Self { families }
    }

    /// Returns the metrics, sorted by name.
    #[must_use]
    pub fn families(&self) -> &[MetricFamily] {
        &self.families
    }
}

impl MetricFamily {
    /// Returns the name, with its unit and `_total`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the help text, which may be empty.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }

    /// Returns the kind of the metric.
    #[must_use]
    pub fn kind(&self) -> MetricKind {
        self.kind
    }

    /// Returns the Prometheus [base unit](https://prometheus.io/docs/practices/naming/#base-units) at the end of the name, before
    /// `_total`: `seconds`, `bytes`, `ratio`, …
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        unit(&self.name)
    }

    /// Returns the series; there is at least one.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Returns the labels of a [`Sample`] of this metric, in the order of the first series.
    ///
    /// A value may be any text; Prometheus treats an empty value as a missing label.
    pub fn labels<'a>(
        &'a self,
        sample: &'a Sample,
    ) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone {
        let values = sample.labels.iter().map(|value| &**value);
        self.labels.iter().map(String::as_str).zip(values)
    }
}

impl MetricKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Sample {
    /// Returns the value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }
}

impl HistogramSnapshot {
    /// Returns the inclusive upper bounds of the buckets, without the last bucket, which has no bound.
    #[must_use]
    pub fn bounds(&self) -> &[f64] {
        &self.bounds
    }

    /// Returns the number of values in each bucket, one more than there are [`bounds`](Self::bounds). The counts are not cumulative.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Returns the number of values, the sum of [`counts`](Self::counts).
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, n| sum.wrapping_add(*n))
    }

    /// Returns the sum of the values. It may include or miss values that were observed while the snapshot was taken.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::{Buckets, Registry};

    fn distribution(registry: &Registry) -> HistogramSnapshot {
        match registry.snapshot().families()[0].samples()[0].value() {
            Value::Histogram(distribution) => distribution.clone(),
            other => panic!("no histogram: {other:?}"),
        }
    }

    #[test]
    fn a_snapshot_has_every_series_with_its_original_labels() {
        let registry = Registry::new();
        let odd = "a\\\"\n,=ü";
        let counter = |labels: &[(&str, &str)]| registry.counter("c_total", "Calls.", labels);
        counter(&[("a", odd), ("b", "")]).unwrap().add(3);
        counter(&[("b", "2"), ("a", "1")]).unwrap().add(4);
        registry.gauge("g", "", &[]).unwrap().set(-7);
        let snapshot = registry.snapshot();
        let [calls, gauge] = snapshot.families() else {
            panic!("two metrics: {snapshot:?}");
        };
        assert_eq!((calls.name(), calls.help()), ("c_total", "Calls."));
        assert_eq!(calls.kind(), MetricKind::Counter);
        let seen: Vec<(Vec<_>, _)> = calls
            .samples()
            .iter()
            .map(|sample| (calls.labels(sample).collect(), sample.value().clone()))
            .collect();
        let expected = [
            (vec![("a", "1"), ("b", "2")], Value::Counter(4)),
            (vec![("a", odd), ("b", "")], Value::Counter(3)),
        ];
        assert_eq!(seen, expected);
        assert_eq!((gauge.name(), gauge.kind()), ("g", MetricKind::Gauge));
        assert_eq!(gauge.samples()[0].value(), &Value::Gauge(-7));
        assert_eq!(gauge.labels(&gauge.samples()[0]).len(), 0);
    }

    #[test]
    fn a_histogram_has_a_count_for_each_bound_and_one_for_the_rest() {
        let registry = Registry::new();
        let buckets = Buckets::new([1.0, 2.0]).unwrap();
        let histogram = registry.histogram("h_seconds", "", &[], &buckets).unwrap();
        for value in [0.5, 1.0, 1.5, 7.0, f64::NAN] {
            histogram.observe(value);
        }
        histogram.observe_nanos(2_000_000_000);
        let seen = distribution(&registry);
        assert_eq!(seen.bounds(), [1.0, 2.0]);
        assert_eq!(seen.counts(), [2, 2, 1]);
        assert_eq!((seen.count(), seen.sum()), (5, 12.0));
        let snapshot = registry.snapshot();
        assert_eq!(snapshot.families()[0].kind(), MetricKind::Histogram);
        assert_eq!(snapshot.families()[0].unit(), Some("seconds"));
    }

    /// MT-05: a snapshot that is taken among threads shows a state between two observations.
    #[test]
    fn counts_in_snapshots_never_fall_while_threads_record() {
        const EACH: u64 = 5_000;
        let registry = Registry::new();
        let buckets = Buckets::new([1.0]).unwrap();
        let histogram = registry.histogram("h", "", &[], &buckets).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..EACH).for_each(|n| histogram.observe((n % 2 * 2) as f64)));
            }
            let mut before = distribution(&registry);
            while before.count() < 4 * EACH {
                let now = distribution(&registry);
                let pairs = before.counts().iter().zip(now.counts());
                assert!(pairs.clone().all(|(before, now)| before <= now));
                before = now;
            }
            assert_eq!(before.counts(), [2 * EACH, 2 * EACH]);
        });
        assert_eq!(distribution(&registry).sum(), (4 * EACH) as f64);
    }

    #[test]
    fn the_unit_is_the_last_word_of_a_name_if_it_is_one() {
        assert_eq!(
            unit("http_server_request_duration_seconds"),
            Some("seconds")
        );
        assert_eq!(unit("sent_bytes_total"), Some("bytes"));
        assert_eq!(unit("sent_total"), None);
        assert_eq!(unit("seconds"), None);
        assert_eq!(unit("nanoseconds_left"), None);
    }

    #[test]
    fn an_empty_registry_has_an_empty_snapshot() {
        assert_eq!(Registry::new().snapshot().families(), []);
    }
}
