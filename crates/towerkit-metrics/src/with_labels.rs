use std::{fmt, sync::Arc};

use crate::{Buckets, Counter, Gauge, Histogram, MetricError, Provider};

/// Adds labels to every metric that is resolved through it, such as the address of an upstream instance.
///
/// All layers that record in the same metric need the same labels. A metric has a limited number of
/// [series](crate::Registry::with_max_series), beyond which values are recorded as `_OTHER`.
///
/// ```
/// use towerkit_metrics::{MetricsLayer, Registry, WithLabels};
///
/// let registry = Registry::new();
/// let provider = WithLabels::new(registry.clone()).label("instance", "10.0.0.7:80");
/// let layer = MetricsLayer::new().client().registry(provider);
/// # let _ = layer;
/// ```
#[derive(Clone)]
pub struct WithLabels {
    provider: Arc<dyn Provider>,
    labels: Vec<(String, String)>,
}

impl WithLabels {
    /// Wraps a provider, without labels yet.
    #[must_use]
    pub fn new(provider: impl Provider + 'static) -> Self {
        Self {
            provider: Arc::new(provider),
            labels: Vec::new(),
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    fn with<'a>(&'a self, labels: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let added = self.labels.iter().map(|(name, value)| (&**name, &**value));
        added.chain(labels.iter().copied()).collect()
    }
}

impl Provider for WithLabels {
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Counter>, MetricError> {
        self.provider.counter(name, help, &self.with(labels))
    }

    fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Gauge>, MetricError> {
        self.provider.gauge(name, help, &self.with(labels))
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        buckets: &Buckets,
    ) -> Result<Arc<dyn Histogram>, MetricError> {
        self.provider
            .histogram(name, help, &self.with(labels), buckets)
    }
}

impl fmt::Debug for WithLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithLabels")
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Provider, Registry, WithLabels};

    #[test]
    fn every_instrument_has_the_labels() {
        let registry = Registry::new();
        let provider = WithLabels::new(registry.clone()).label("zone", "a");
        provider
            .counter("calls_total", "", &[("name", "b")])
            .unwrap()
            .add(2);
        provider.gauge("open", "", &[]).unwrap().set(3);
        let buckets = crate::Buckets::new([1.0]).unwrap();
        provider
            .histogram("size_bytes", "", &[], &buckets)
            .unwrap()
            .observe(0.5);
        let text = registry.render();
        for line in [
            r#"calls_total{zone="a",name="b"} 2"#,
            r#"open{zone="a"} 3"#,
            r#"size_bytes_count{zone="a"} 1"#,
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn a_label_that_the_metric_has_already_is_an_error() {
        let provider = WithLabels::new(Registry::new()).label("name", "a");
        assert!(
            provider
                .counter("calls_total", "", &[("name", "b")])
                .is_err()
        );
    }
}
