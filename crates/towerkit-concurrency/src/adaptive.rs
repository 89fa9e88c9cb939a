use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::ConfigError;

use crate::{
    LimitAlgorithm,
    adaptive_limit::{AdaptiveLimit, Bounds, MakeAlgorithm},
    permits::Permits,
};

/// Configures an adaptive concurrency limit: the algorithm, the bounds, and the window of measurement.
///
/// The duration of a call is measured from its admission to the end of its response body, while it counts as in flight, as
/// [Little's law](https://en.wikipedia.org/wiki/Little%27s_law) requires. Successful calls are samples. Calls that the upstream
/// rejected as [overloaded](towerkit_core::Outcome::Overloaded), or that [timed out](towerkit_core::Outcome::TimedOut), are drops.
/// The limit ignores failures, client errors, rejections for other reasons than load, and cancelled calls that ran no longer than the
/// mean.
///
/// ```
/// use std::time::Duration;
/// use towerkit_concurrency::{Adaptive, ConcurrencyLimitLayer, Vegas};
///
/// let adaptive = Adaptive::new(Vegas::new()).try_limits(10, 400)?.window(Duration::from_millis(250))?;
/// let layer = ConcurrencyLimitLayer::adaptive(adaptive);
/// assert_eq!(layer.handle().snapshot().limit, 20);
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Adaptive {
    make_algorithm: Arc<MakeAlgorithm>,
    bounds: Bounds,
    initial: u32,
    window: u64,
}

impl Adaptive {
    /// Adjusts the limit by `algorithm` every 100 ms, between 4 and 1000, starting at 20.
    pub fn new(algorithm: impl LimitAlgorithm + Clone + Sync) -> Self {
        Self {
            make_algorithm: Arc::new(move || Box::new(algorithm.clone())),
            bounds: Bounds { min: 4, max: 1000 },
            initial: 20,
            window: 100_000_000,
        }
    }

    /// Bounds the limit by `min` and `max`; 4 and 1000 by default. Also clamps the initial limit.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] unless `1 <= min <= max <= 2 147 483 647`.
    pub fn try_limits(mut self, min: u32, max: u32) -> Result<Self, ConfigError> {
        if min == 0 || min > max || max > Permits::MAX {
            let expected = "1 <= min <= max <= 2147483647";
            return Err(ConfigError::new("limits", (min, max), expected));
        }
        self.bounds = Bounds { min, max };
        self.initial = self.initial.clamp(min, max);
        Ok(self)
    }

    /// Sets the initial limit, clamped to the bounds; 20 by default.
    #[must_use]
    pub fn initial(mut self, limit: u32) -> Self {
        self.initial = limit.clamp(self.bounds.min, self.bounds.max);
        self
    }

    /// Sets the shortest time between two updates of the limit; 100 ms by default.
    ///
    /// A window also contains at least ten calls and lasts at least two mean durations. The limit ignores calls that end within one
    /// mean duration of the start of a window, because they ran under the previous limit. An overload ends a window after one
    /// second, the longest window of [Netflix's concurrency-limits](https://github.com/Netflix/concurrency-limits).
    ///
    /// A very long call, such as a stream of an hour, counts for at most ten mean durations.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the time is zero or more than a year.
    pub fn window(mut self, window: Duration) -> Result<Self, ConfigError> {
        self.window = ConfigError::check_duration("window", window)?;
        Ok(self)
    }

    pub(crate) fn initial_limit(&self) -> u32 {
        self.initial
    }

    /// Starts the algorithm at `limit`.
    pub(crate) fn start(&self, limit: u32) -> AdaptiveLimit {
        AdaptiveLimit::new(self.make_algorithm.clone(), self.bounds, self.window, limit)
    }
}

impl fmt::Debug for Adaptive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adaptive")
            .field("bounds", &self.bounds)
            .field("initial", &self.initial)
            .field("window", &Duration::from_nanos(self.window))
            .finish_non_exhaustive()
    }
}
