use std::{fmt, sync::Arc};

use crate::{Buckets, Counter, Gauge, Histogram, MetricError, Provider, instrument::Noop};

/// Records in several [`Provider`]s, in the order in which they were added.
///
/// Without a provider it discards all values, which turns the measurements of a layer off. If a provider rejects a metric, the others
/// still record it; if all of them do, resolving the metric returns the error of the first.
///
/// ```
/// use towerkit_metrics::{MetricsLayer, Registry, Fanout};
///
/// let [here, there] = [Registry::new(), Registry::new()];
/// let both = Fanout::new().and(here.clone()).and(there.clone());
/// let layer = MetricsLayer::new().registry(both);
/// let nothing = MetricsLayer::new().registry(Fanout::new());
/// # let _ = (layer, nothing);
/// ```
#[derive(Clone, Default)]
pub struct Fanout(Vec<Arc<dyn Provider>>);

/// An instrument that passes each value to the instruments of several providers.
#[derive(Debug)]
struct FanoutInstrument<I: ?Sized>(Box<[Arc<I>]>);

impl Fanout {
    /// Creates a fan-out without providers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a provider.
    #[must_use]
    pub fn and(mut self, provider: impl Provider + 'static) -> Self {
        self.0.push(Arc::new(provider));
        self
    }

    /// Resolves the instrument of each provider.
    fn resolve_all<I: ?Sized>(
        &self,
        resolve: impl Fn(&dyn Provider) -> Result<Arc<I>, MetricError>,
    ) -> Result<Vec<Arc<I>>, MetricError> {
        let mut instruments = Vec::with_capacity(self.0.len());
        let mut rejected = None;
        for provider in &self.0 {
            match resolve(&**provider) {
                Ok(instrument) => instruments.push(instrument),
                Err(error) => rejected = rejected.or(Some(error)),
            }
        }
        match rejected {
            Some(error) if instruments.is_empty() => Err(error),
            _ => Ok(instruments),
        }
    }
}

/// Returns a single instrument as it is, [`Noop`] for an empty list, and a [`FanoutInstrument`] for several.
macro_rules! merge {
    ($instruments:expr) => {{
        let mut instruments = $instruments;
        match instruments.len() {
            0 => Arc::new(Noop),
            1 => instruments.remove(0),
            _ => Arc::new(FanoutInstrument(instruments.into())),
        }
    }};
}

impl Provider for Fanout {
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Counter>, MetricError> {
        let instruments = self.resolve_all(|provider| provider.counter(name, help, labels))?;
        Ok(merge!(instruments))
    }

    fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Gauge>, MetricError> {
        let instruments = self.resolve_all(|provider| provider.gauge(name, help, labels))?;
        Ok(merge!(instruments))
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        buckets: &Buckets,
    ) -> Result<Arc<dyn Histogram>, MetricError> {
        let instruments =
            self.resolve_all(|provider| provider.histogram(name, help, labels, buckets))?;
        Ok(merge!(instruments))
    }
}

impl Counter for FanoutInstrument<dyn Counter> {
    fn add(&self, by: u64) {
        self.0.iter().for_each(|counter| counter.add(by));
    }
}

impl Gauge for FanoutInstrument<dyn Gauge> {
    fn add(&self, by: i64) {
        self.0.iter().for_each(|gauge| gauge.add(by));
    }

    fn set(&self, to: i64) {
        self.0.iter().for_each(|gauge| gauge.set(to));
    }
}

impl Histogram for FanoutInstrument<dyn Histogram> {
    fn observe(&self, value: f64) {
        self.0.iter().for_each(|histogram| histogram.observe(value));
    }

    fn observe_nanos(&self, nanos: u64) {
        self.0
            .iter()
            .for_each(|histogram| histogram.observe_nanos(nanos));
    }
}

impl fmt::Debug for Fanout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fanout")
            .field("backends", &self.0.len())
            .finish()
    }
}
