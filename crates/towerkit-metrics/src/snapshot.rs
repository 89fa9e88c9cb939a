use std::sync::Arc;

use crate::exemplars::Exemplar;

/// What a [`Registry`](crate::Registry) held at one moment: for exporters that push, each in a format of its own.
///
/// Made by [`Registry::snapshot`](crate::Registry::snapshot). It is a copy, so that no lock is held while it is encoded and sent.
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

/// All series of one metric, as they were at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricFamily {
    pub(crate) name: Arc<str>,
    pub(crate) help: Arc<str>,
    pub(crate) kind: MetricKind,
    pub(crate) labels: Arc<[String]>,
    pub(crate) samples: Vec<Sample>,
}

/// What kind of numbers a metric has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A number that only rises, from 0 when the registry was made.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// Values counted by size.
    Histogram,
}

/// One series, as it was at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub(crate) labels: Arc<[Box<str>]>,
    pub(crate) value: Value,
}

/// The value of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// The value of a counter.
    Counter(u64),
    /// The value of a gauge.
    Gauge(i64),
    /// The values that a histogram observed.
    Histogram(HistogramSnapshot),
}

/// Values counted by size, since the registry was made.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSnapshot {
    pub(crate) bounds: Arc<[f64]>,
    pub(crate) counts: Box<[u64]>,
    pub(crate) sum: f64,
    /// One for each bucket, or none at all.
    pub(crate) exemplars: Box<[Option<Exemplar>]>,
}

/// The units in which Prometheus measures, one of which a name may end in.
const UNITS: [&str; 9] = [
    "seconds", "bytes", "ratio", "celsius", "meters", "volts", "amperes", "joules", "grams",
];

/// Returns the unit that a name ends in, `_total` aside.
pub(crate) fn unit(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix("_total").unwrap_or(name);
    let (_, last) = name.rsplit_once('_')?;
    UNITS.into_iter().find(|unit| *unit == last)
}

impl RegistrySnapshot {
    pub(crate) fn new(families: Vec<MetricFamily>) -> Self {
        Self { families }
    }

    /// Returns the metrics, by name.
    #[must_use]
    pub fn families(&self) -> &[MetricFamily] {
        &self.families
    }
}

impl MetricFamily {
    /// Returns the whole name, with its unit and `_total`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the help, which may be empty.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }

    /// Returns the kind of all values.
    #[must_use]
    pub fn kind(&self) -> MetricKind {
        self.kind
    }

    /// Returns the base unit that the name ends in, before `_total`, if it is one of Prometheus's: `seconds`, `bytes`, `ratio`, …
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        unit(&self.name)
    }

    /// Returns the series, at least one.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Returns the labels of one of the series, in the order in which the first series was given them.
    ///
    /// A value may be empty, which to Prometheus is no label, and any text.
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
    /// Returns the upper bounds of the buckets, which belong to them; the last bucket has none.
    #[must_use]
    pub fn bounds(&self) -> &[f64] {
        &self.bounds
    }

    /// Returns how many values each bucket has, the last one included: one number more than there are bounds. Not cumulative.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Returns how many values there are: what the buckets add up to.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, n| sum.wrapping_add(*n))
    }

    /// Returns the sum of the values. It may lack, or have, what was observed while the snapshot was taken.
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
    fn a_snapshot_has_every_series_with_its_labels_as_they_were_given() {
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

    /// MT-05: a snapshot among threads is a moment that was or could have been.
    #[test]
    fn snapshots_rise_while_threads_record() {
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
