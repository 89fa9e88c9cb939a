use std::{error::Error, fmt, sync::Arc};

use crate::Buckets;

/// A number that only rises.
pub trait Counter: fmt::Debug + Send + Sync {
    /// Adds `by`.
    fn add(&self, by: u64);
}

/// A number that rises and falls.
pub trait Gauge: fmt::Debug + Send + Sync {
    /// Adds `by`, which may be negative.
    fn add(&self, by: i64);

    /// Sets the number to `to`.
    fn set(&self, to: i64);
}

/// Observed values, counted by size.
pub trait Histogram: fmt::Debug + Send + Sync {
    /// Observes one value, in the unit that the metric's name ends in. A NaN is left out, since no sum would survive it.
    fn observe(&self, value: f64);

    /// Observes a duration given in nanoseconds, for a metric in seconds.
    fn observe_nanos(&self, nanos: u64) {
        self.observe(nanos as f64 / 1e9);
    }
}

/// A backend: makes the handle of a series.
///
/// Handles are resolved once and kept; only they are used in the path of a call. The same name and labels give the same series again.
/// The order of the labels does not matter.
///
/// [`Registry`](crate::Registry) is the built-in backend, and with the feature `metrics` the facade of that name is one. A backend must
/// not panic: the observer resolves the series of a new outcome while a call ends, which may be in a panic.
pub trait Provider: Send + Sync {
    /// Resolves a counter.
    ///
    /// # Errors
    ///
    /// A [`MetricError`] if the name, the labels or the kind do not fit.
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Counter>, MetricError>;

    /// Resolves a gauge.
    ///
    /// # Errors
    ///
    /// A [`MetricError`] if the name, the labels or the kind do not fit.
    fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Gauge>, MetricError>;

    /// Resolves a histogram. Who resolves the first series of a metric chooses the buckets of all.
    ///
    /// # Errors
    ///
    /// A [`MetricError`] if the name, the labels or the kind do not fit.
    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        buckets: &Buckets,
    ) -> Result<Arc<dyn Histogram>, MetricError>;
}

/// A series that cannot be made as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricError {
    name: String,
    why: &'static str,
    /// The metric that is in the way.
    other: Option<String>,
}

impl MetricError {
    /// Rejects a series of the metric `name`.
    #[must_use]
    pub fn new(name: &str, why: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            why,
            other: None,
        }
    }

    /// Rejects a metric whose lines could be read as those of another.
    pub(crate) fn clash(name: &str, other: &str) -> Self {
        Self {
            other: Some(other.to_owned()),
            ..Self::new(name, "its lines could be read as those of metric")
        }
    }

    /// Returns the name of the metric.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for MetricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metric {:?}: {}", self.name, self.why)?;
        match &self.other {
            Some(other) => write!(f, " {other:?}"),
            None => Ok(()),
        }
    }
}

impl Error for MetricError {}

/// Takes what a backend rejected to take.
#[derive(Debug)]
pub(crate) struct Noop;

impl Counter for Noop {
    fn add(&self, _by: u64) {}
}

impl Gauge for Noop {
    fn add(&self, _by: i64) {}
    fn set(&self, _to: i64) {}
}

impl Histogram for Noop {
    fn observe(&self, _value: f64) {}
}
