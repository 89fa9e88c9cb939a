use std::time::Duration;

/// Computes the limit of an [`Adaptive`](crate::Adaptive) concurrency limit.
///
/// Called once per [`Window`], by one thread at a time. The result is clamped to the bounds, and the limit stays unchanged if the result
/// is [`NaN`](f64::NAN), if the algorithm panics, or if the limit would rise while less than half of it is in use.
pub trait LimitAlgorithm: Send + 'static {
    /// Returns the next limit.
    fn update(&mut self, window: &Window) -> f64;
}

/// The measurements of one window under one limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Window {
    /// The limit, before it was rounded.
    pub limit: f64,
    /// The highest number of calls in flight.
    pub in_flight: u32,
    /// The number of measured calls: successful ones, and cancelled ones that ran longer than the mean.
    pub samples: u32,
    /// The number of calls that the upstream rejected as overloaded, or that timed out.
    pub drops: u32,
    /// The mean duration, or the mean of the previous window without samples. One call counts for at most ten previous means.
    pub mean: Duration,
    /// The shortest duration.
    pub min: Duration,
}

impl Window {
    /// Returns true if less than half of the limit was in use, so that the window says little about a higher limit.
    ///
    /// Source: every algorithm of [Netflix's concurrency-limits](https://github.com/Netflix/concurrency-limits) has this guard.
    #[must_use]
    pub fn is_app_limited(&self) -> bool {
        f64::from(self.in_flight) * 2.0 < self.limit
    }

    /// Returns true if at least 1 % of the calls were dropped.
    ///
    /// The threshold keeps a stray failure among thousands of calls, which occurs in almost every window, from lowering the limit.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        is_overloaded(self.samples, self.drops)
    }

    /// Returns the mean in seconds, never 0.
    pub(crate) fn round_trip(&self) -> f64 {
        self.mean.as_secs_f64().max(1e-9)
    }
}

/// Returns true if at least 1 % of the calls were dropped.
pub(crate) fn is_overloaded(samples: u32, drops: u32) -> bool {
    let ended = u64::from(samples) + u64::from(drops);
    drops > 0 && u64::from(drops) * 100 >= ended
}

/// The factor by which an overload lowers the limit; the default of
/// [Netflix's `AIMDLimit`](https://github.com/Netflix/concurrency-limits).
pub(crate) const BACKOFF: f64 = 0.9;
