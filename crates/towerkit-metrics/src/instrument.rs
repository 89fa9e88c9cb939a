use std::{error::Error, fmt, sync::Arc};

use crate::Buckets;

/// A value that only increases.
pub trait Counter: fmt::Debug + Send + Sync {
    /// Adds `by`.
    fn add(&self, by: u64);
}

/// A value that increases and decreases.
pub trait Gauge: fmt::Debug + Send + Sync {
    /// Adds `by`, which may be negative.
    fn add(&self, by: i64);

    /// Sets the value to `to`.
    fn set(&self, to: i64);
}

/// A distribution of values over [`Buckets`].
pub trait Histogram: fmt::Debug + Send + Sync {
    /// Records a value in the unit at the end of the metric's name. A NaN is ignored, because it would turn the sum into a NaN.
    fn observe(&self, value: f64);

    /// Records a duration in nanoseconds, for a metric in seconds.
    fn observe_nanos(&self, nanos: u64) {
        self.observe(nanos as f64 / 1e9);
    }
}

/// A metrics backend: resolves the instruments of series.
///
/// Instruments are resolved once and kept; calls use only resolved instruments. The same name and labels, in any order, return the same
/// series.
///
/// [`Registry`](crate::Registry) is the built-in backend, and `Facade` (feature `metrics`) records in the
/// [`metrics`](https://docs.rs/metrics) crate. A backend must not panic: the first call with a new outcome resolves its series when it
/// ends, which may be during a panic.
pub trait Provider: Send + Sync {
    /// Resolves a [`Counter`].
    ///
    /// # Errors
    ///
    /// Returns a [`MetricError`] if the name or a label is invalid, or if a metric of this name has another kind or other labels.
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Counter>, MetricError>;

    /// Resolves a [`Gauge`].
    ///
    /// # Errors
    ///
    /// Returns a [`MetricError`] as [`counter`](Self::counter) does.
    fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Gauge>, MetricError>;

    /// Resolves a [`Histogram`]. The first series of a metric fixes the buckets of all its series.
    ///
    /// # Errors
    ///
    /// Returns a [`MetricError`] as [`counter`](Self::counter) does.
    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        buckets: &Buckets,
    ) -> Result<Arc<dyn Histogram>, MetricError>;
}

/// The error of a [`Provider`] that cannot resolve a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricError {
    name: String,
    why: &'static str,
    /// The metric with which this one conflicts.
    other: Option<String>,
}

impl MetricError {
    /// Creates an error for the metric `name`, with the reason.
    #[must_use]
    pub fn new(name: &str, why: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            why,
            other: None,
        }
    }

    /// Creates the error for a metric with sample names that another metric uses.
    pub(crate) fn clash(name: &str, other: &str) -> Self {
        Self {
            other: Some(other.to_owned()),
            ..Self::new(name, "its samples could be read as those of metric")
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

/// An instrument that discards all values, used for metrics that a [`Provider`] rejects.
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
