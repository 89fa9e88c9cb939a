use std::sync::Arc;

use metrics::{Key, Label, Level, Metadata, with_recorder};

use crate::{Buckets, Counter, Gauge, Histogram, MetricError, Provider};

/// Records in the recorder that is installed for the [`metrics`] crate.
///
/// Install the recorder before the first call, because instruments are resolved once and kept. The recorder chooses the buckets, and how
/// long it keeps a series.
///
/// ```
/// use towerkit_metrics::{EventMetrics, Facade, MetricsLayer};
///
/// let layer = MetricsLayer::new().registry(Facade);
/// // For `.events(…)` of a circuit breaker, a retry or another layer.
/// let events = EventMetrics::new(Facade);
/// # let _ = (layer, events);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Facade;

const METADATA: Metadata<'static> =
    Metadata::new("towerkit_metrics", Level::INFO, Some("towerkit_metrics"));

impl Provider for Facade {
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Counter>, MetricError> {
        let key = key(name, labels);
        Ok(Arc::new(with_recorder(|recorder| {
            recorder.describe_counter(key.name_shared(), None, help.to_owned().into());
            recorder.register_counter(&key, &METADATA)
        })))
    }

    fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Gauge>, MetricError> {
        let key = key(name, labels);
        Ok(Arc::new(with_recorder(|recorder| {
            recorder.describe_gauge(key.name_shared(), None, help.to_owned().into());
            recorder.register_gauge(&key, &METADATA)
        })))
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        _buckets: &Buckets,
    ) -> Result<Arc<dyn Histogram>, MetricError> {
        let key = key(name, labels);
        Ok(Arc::new(with_recorder(|recorder| {
            recorder.describe_histogram(key.name_shared(), None, help.to_owned().into());
            recorder.register_histogram(&key, &METADATA)
        })))
    }
}

fn key(name: &str, labels: &[(&str, &str)]) -> Key {
    let label = |(name, value): &(&str, &str)| Label::new((*name).to_owned(), (*value).to_owned());
    let labels: Vec<_> = labels.iter().map(label).collect();
    Key::from_parts(name.to_owned(), labels)
}

impl Counter for metrics::Counter {
    fn add(&self, by: u64) {
        self.increment(by);
    }
}

impl Gauge for metrics::Gauge {
    fn add(&self, by: i64) {
        self.increment(by as f64);
    }

    fn set(&self, to: i64) {
        metrics::Gauge::set(self, to as f64);
    }
}

impl Histogram for metrics::Histogram {
    fn observe(&self, value: f64) {
        if !value.is_nan() {
            self.record(value);
        }
    }
}
