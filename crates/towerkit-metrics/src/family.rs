use std::{
    collections::{BTreeMap, btree_map},
    mem::discriminant,
    sync::Arc,
};

use crate::{
    Buckets, MetricError,
    atomic::{AtomicCounter, AtomicGauge, AtomicHistogram, ObservableCounter},
    call_kind::OVERFLOW,
    prometheus_text::is_label_name,
    snapshot::{MetricFamily, MetricKind, Sample, Value},
};

/// A metric with all its series.
///
/// A scrape clones it: names and instruments are shared, so the lock of the registry is held only briefly.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    kind: InstrumentKind,
    help: Arc<str>,
    labels: Arc<[String]>,
    series: BTreeMap<LabelValues, Instrument>,
}

/// The label values of a series, in the order of [`Family::labels`].
type LabelValues = Arc<[Box<str>]>;

#[derive(Debug, Clone)]
pub(crate) enum InstrumentKind {
    Counter,
    ObservableCounter(ObservableCounter),
    Gauge,
    Histogram(Buckets),
}

#[derive(Debug, Clone)]
pub(crate) enum Instrument {
    Counter(Arc<AtomicCounter>),
    ObservableCounter(ObservableCounter),
    Gauge(Arc<AtomicGauge>),
    Histogram(Arc<AtomicHistogram>),
}

impl InstrumentKind {
    pub(crate) fn is_histogram(&self) -> bool {
        matches!(self, Self::Histogram(_))
    }

    fn metric_kind(&self) -> MetricKind {
        match self {
            Self::Counter | Self::ObservableCounter(_) => MetricKind::Counter,
            Self::Gauge => MetricKind::Gauge,
            Self::Histogram(_) => MetricKind::Histogram,
        }
    }

    fn create(&self) -> Instrument {
        match self {
            Self::Counter => Instrument::Counter(Arc::new(AtomicCounter::new())),
            Self::ObservableCounter(counter) => Instrument::ObservableCounter(counter.clone()),
            Self::Gauge => Instrument::Gauge(Arc::new(AtomicGauge::new())),
            Self::Histogram(buckets) => {
                Instrument::Histogram(Arc::new(AtomicHistogram::new(buckets)))
            }
        }
    }
}

impl Instrument {
    fn value(&self) -> Value {
        match self {
            Self::Counter(counter) => Value::Counter(counter.value()),
            Self::ObservableCounter(counter) => Value::Counter(counter.value()),
            Self::Gauge(gauge) => Value::Gauge(gauge.value()),
            Self::Histogram(histogram) => Value::Histogram(histogram.snapshot()),
        }
    }
}

impl Family {
    /// Creates a family whose series have the labels of its first series.
    pub(crate) fn new(
        name: &str,
        help: &str,
        kind: InstrumentKind,
        labels: &[(&str, &str)],
    ) -> Result<Self, MetricError> {
        let names: Arc<[String]> = labels.iter().map(|(name, _)| (*name).to_owned()).collect();
        if !names.iter().all(|label| is_label_name(label)) {
            return Err(MetricError::new(
                name,
                "the name of a label is not valid in Prometheus",
            ));
        }
        if names
            .iter()
            .enumerate()
            .any(|(i, label)| names[..i].contains(label))
        {
            return Err(MetricError::new(name, "a label occurs twice"));
        }
        if kind.is_histogram() && names.iter().any(|label| label == "le") {
            return Err(MetricError::new(
                name,
                "the label le is reserved for the buckets",
            ));
        }
        Ok(Self {
            kind,
            help: help.into(),
            labels: names,
            series: BTreeMap::new(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Finds or creates a series. Returns true if the family has `max_series` series already and this is the overflow series.
    pub(crate) fn resolve(
        &mut self,
        name: &str,
        kind: &InstrumentKind,
        labels: &[(&str, &str)],
        max_series: usize,
    ) -> Result<(Instrument, bool), MetricError> {
        if discriminant(kind) != discriminant(&self.kind) {
            return Err(wrong_kind(name));
        }
        let values = self.label_values(labels);
        let values =
            values.ok_or_else(|| MetricError::new(name, "its series have other labels"))?;
        if let Some(known) = self.series.get(&values) {
            return Ok((known.clone(), false));
        }
        let full = self.series.len() >= max_series;
        let values = if full { self.overflow() } else { values };
        // The first series fixes the buckets of all series, while each observable counter has a function of its own.
        let kind = if kind.is_histogram() {
            &self.kind
        } else {
            kind
        };
        let series = self.series.entry(values);
        Ok((series.or_insert_with(|| kind.create()).clone(), full))
    }

    /// Returns the label values in the order of the first series; `None` if the labels differ.
    fn label_values(&self, labels: &[(&str, &str)]) -> Option<LabelValues> {
        if labels.len() != self.labels.len() {
            return None;
        }
        let value = |name: &'_ String| {
            let (_, value) = labels.iter().find(|(label, _)| label == name)?;
            Some(Box::from(*value))
        };
        self.labels.iter().map(value).collect()
    }

    fn overflow(&self) -> LabelValues {
        self.labels.iter().map(|_| Box::from(OVERFLOW)).collect()
    }

    /// Reads all series.
    pub(crate) fn snapshot(self, name: Arc<str>) -> MetricFamily {
        let (mut head, series) = self.parts(name);
        head.samples = series.collect();
        head
    }

    /// Returns the metric without its series, and an iterator that reads each [`Sample`] on demand.
    pub(crate) fn parts(self, name: Arc<str>) -> (MetricFamily, Samples) {
        let head = MetricFamily {
            name,
            help: self.help,
            kind: self.kind.metric_kind(),
            labels: self.labels,
            samples: Vec::new(),
        };
        (head, Samples(self.series.into_iter()))
    }

    /// Returns the bounds of the buckets, if this is a histogram.
    pub(crate) fn bounds(&self) -> Option<&[f64]> {
        match &self.kind {
            InstrumentKind::Histogram(buckets) => Some(buckets.bounds()),
            _ => None,
        }
    }
}

/// The series of a metric, sorted by their label values.
#[derive(Debug)]
pub(crate) struct Samples(btree_map::IntoIter<LabelValues, Instrument>);

impl Iterator for Samples {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        let (labels, series) = self.0.next()?;
        let value = series.value();
        Some(Sample { labels, value })
    }
}

pub(crate) fn wrong_kind(name: &str) -> MetricError {
    MetricError::new(name, "a metric of this name has another kind")
}
