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

/// All series of one metric.
///
/// Cloned for a scrape: the names and instruments are shared, so that the registry's lock is held for a moment only.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    kind: InstrumentKind,
    help: Arc<str>,
    labels: Arc<[String]>,
    series: BTreeMap<LabelValues, Instrument>,
}

/// The values of the labels of a series, in the order of the family's labels.
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
    /// Makes a family whose series have the labels that its first one has.
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
                "a label has a name that Prometheus does not take",
            ));
        }
        if names
            .iter()
            .enumerate()
            .any(|(i, label)| names[..i].contains(label))
        {
            return Err(MetricError::new(name, "a label is given twice"));
        }
        if kind.is_histogram() && names.iter().any(|label| label == "le") {
            return Err(MetricError::new(
                name,
                "the label le belongs to the buckets",
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

    /// Finds or makes a series. Says `true` with it if the cap of `most` series was reached and it is the one for the rest.
    pub(crate) fn resolve(
        &mut self,
        name: &str,
        kind: &InstrumentKind,
        labels: &[(&str, &str)],
        most: usize,
    ) -> Result<(Instrument, bool), MetricError> {
        if discriminant(kind) != discriminant(&self.kind) {
            return Err(wrong_kind(name));
        }
        let values = self.label_values(labels);
        let values =
            values.ok_or_else(|| MetricError::new(name, "its other series have other labels"))?;
        if let Some(known) = self.series.get(&values) {
            return Ok((known.clone(), false));
        }
        let full = self.series.len() >= most;
        let values = if full { self.overflow() } else { values };
        // The first series chooses the buckets of all, but each count is read from a place of its own.
        let kind = if kind.is_histogram() {
            &self.kind
        } else {
            kind
        };
        let series = self.series.entry(values);
        Ok((series.or_insert_with(|| kind.create()).clone(), full))
    }

    /// Puts the values of labels in the order of the first series, if they are the same labels.
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

    /// Returns the metric without its series, and the series, each of which is read as it is asked for.
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

    /// Returns the bounds of the buckets, if there are any.
    pub(crate) fn bounds(&self) -> Option<&[f64]> {
        match &self.kind {
            InstrumentKind::Histogram(buckets) => Some(buckets.bounds()),
            _ => None,
        }
    }
}

/// The series of a metric, in their order.
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
    MetricError::new(name, "it is another kind of instrument already")
}
