use std::time::Duration;

use towerkit_core::ConfigError;

use crate::{LimitAlgorithm, Window, algorithm::BACKOFF};

/// Raises the limit by one after a good window, and lowers it by a tenth after an overloaded one (AIMD).
///
/// A window is [overloaded](Window::is_overloaded) if at least 1 % of its calls were rejected by the upstream as overloaded or timed
/// out. The algorithm needs an upstream that sheds load, a timeout inside the limit, or [`slow_after`](Self::slow_after). The limit
/// oscillates between the overload and a tenth below it.
///
/// Sources: Chiu and Jain, ["Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in Computer
/// Networks"](https://doi.org/10.1016/0169-7552(89)90019-6), 1989; `AIMDLimit` of [Netflix's
/// concurrency-limits](https://github.com/Netflix/concurrency-limits).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aimd {
    backoff: f64,
    slow_after: Duration,
}

impl Aimd {
    /// Creates the algorithm with a backoff of 0.9, without a bound on the mean duration.
    #[must_use]
    pub fn new() -> Self {
        Self {
            backoff: BACKOFF,
            slow_after: Duration::MAX,
        }
    }

    /// Multiplies the limit by `factor` after an overloaded window; 0.9 by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] unless the factor is above 0 and below 1.
    pub fn backoff(mut self, factor: f64) -> Result<Self, ConfigError> {
        if !(factor > 0.0 && factor < 1.0) {
            let expected = "a number above 0 and below 1";
            return Err(ConfigError::new("backoff", factor, expected));
        }
        self.backoff = factor;
        Ok(self)
    }

    /// Also treats a window as overloaded if its mean duration exceeds `mean`; unbounded by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if it is zero or more than a year.
    pub fn slow_after(mut self, mean: Duration) -> Result<Self, ConfigError> {
        self.slow_after = Duration::from_nanos(ConfigError::check_duration("slow_after", mean)?);
        Ok(self)
    }
}

impl Default for Aimd {
    fn default() -> Self {
        Self::new()
    }
}

impl LimitAlgorithm for Aimd {
    fn update(&mut self, window: &Window) -> f64 {
        if window.is_overloaded() || window.mean > self.slow_after {
            window.limit * self.backoff
        } else {
            window.limit + 1.0
        }
    }
}
