use std::sync::Arc;

use towerkit_core::Side;

use crate::{
    Buckets, Counter, Gauge, Histogram, Provider, Registry, instrument::Noop,
    metric_table::MetricDescriptor,
};

/// The options of a [`MetricsLayer`](crate::MetricsLayer).
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) buckets: Buckets,
    pub(crate) side: Side,
    /// True if the time to the head of a response is recorded.
    pub(crate) time_to_head: bool,
    /// The buckets for the sizes of bodies, if sizes are recorded.
    pub(crate) body_buckets: Option<Buckets>,
    pub(crate) max_operations: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            provider: Arc::new(Registry::global()),
            buckets: Buckets::default(),
            side: Side::Server,
            time_to_head: false,
            body_buckets: None,
            max_operations: 1000,
        }
    }
}

/// Resolves instruments. A metric that the [`Provider`] rejects is not recorded, and calls go on.
impl Config {
    pub(crate) fn counter(
        &self,
        metric: &MetricDescriptor,
        labels: &[(&str, &str)],
    ) -> Arc<dyn Counter> {
        let counter = self.provider.counter(metric.name, metric.help, labels);
        counter.unwrap_or_else(|_| Arc::new(Noop))
    }

    pub(crate) fn gauge(
        &self,
        metric: &MetricDescriptor,
        labels: &[(&str, &str)],
    ) -> Arc<dyn Gauge> {
        let gauge = self.provider.gauge(metric.name, metric.help, labels);
        gauge.unwrap_or_else(|_| Arc::new(Noop))
    }

    pub(crate) fn histogram(
        &self,
        metric: &MetricDescriptor,
        labels: &[(&str, &str)],
        buckets: &Buckets,
    ) -> Arc<dyn Histogram> {
        let histogram = self
            .provider
            .histogram(metric.name, metric.help, labels, buckets);
        histogram.unwrap_or_else(|_| Arc::new(Noop))
    }
}
