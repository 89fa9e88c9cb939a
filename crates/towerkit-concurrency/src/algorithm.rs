use std::time::Duration;

/// Finds a limit from what it saw under the last one.
///
/// Asked once a window, and not by two threads at once. The limit that it returns is brought within the bounds, is not raised while less
/// than half of it is in use, and stays as it was if it is no number or if the algorithm panics.
pub trait LimitAlgorithm: Send + 'static {
    /// Returns the next limit.
    fn update(&mut self, window: &Window) -> f64;
}

/// What was seen under one limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Window {
    /// The limit, before it was rounded.
    pub limit: f64,
    /// The most calls that were in flight at once.
    pub in_flight: u32,
    /// The calls whose duration is known: those that succeeded, and those that were given up after a longer time than the mean.
    pub samples: u32,
    /// The calls that the callee rejected for overload, or that timed out.
    pub drops: u32,
    /// The mean duration, to which one call adds ten times the mean of the window before at most; that mean if there are no samples.
    pub mean: Duration,
    /// The least duration.
    pub least: Duration,
}

impl Window {
    /// Whether less than half of the limit was in use, so that nothing can be said about a higher one.
    ///
    /// Source: Netflix's concurrency-limits, where every algorithm has this guard.
    #[must_use]
    pub fn is_app_limited(&self) -> bool {
        f64::from(self.in_flight) * 2.0 < self.limit
    }

    /// Whether the callee dropped at least one call in a hundred.
    ///
    /// A stray failure among thousands would otherwise hold the limit down, since it would strike in every window.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        is_overloaded(self.samples, self.drops)
    }

    /// The mean in seconds, and never 0.
    pub(crate) fn round_trip(&self) -> f64 {
        self.mean.as_secs_f64().max(1e-9)
    }
}

/// Whether at least one call in a hundred was dropped.
pub(crate) fn is_overloaded(samples: u32, drops: u32) -> bool {
    let ended = u64::from(samples) + u64::from(drops);
    drops > 0 && u64::from(drops) * 100 >= ended
}

/// What is left of a limit after an overload; Netflix's default.
pub(crate) const BACKOFF: f64 = 0.9;
