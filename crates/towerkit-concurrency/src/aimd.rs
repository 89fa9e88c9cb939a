use std::time::Duration;

use crate::{
    InvalidSetting, LimitAlgorithm, Window,
    algorithm::BACKOFF,
    invalid::{Problem, nanos},
};

/// Additive increase, multiplicative decrease: one more after every good window, a tenth less after a bad one.
///
/// A window is bad if at least one call in a hundred was dropped: rejected by the callee for overload, or timed out. So it needs a callee
/// that says when it has enough, or a timeout further in, or [`slow_after`](Self::slow_after). It goes up and down for ever, between the
/// load that is too much and a tenth less.
///
/// Sources: Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in Computer Networks", 1989;
/// `AIMDLimit` of Netflix's concurrency-limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aimd {
    backoff: f64,
    slow_after: Duration,
}

impl Aimd {
    /// Makes the default: what is left after a bad window is 0.9, and no call is too slow.
    #[must_use]
    pub fn new() -> Self {
        Self {
            backoff: BACKOFF,
            slow_after: Duration::MAX,
        }
    }

    /// Says what is left of the limit after a bad window; 0.9 by default.
    ///
    /// # Errors
    ///
    /// If it is not above 0 and below 1.
    pub fn backoff(mut self, backoff: f64) -> Result<Self, InvalidSetting> {
        if !(backoff > 0.0 && backoff < 1.0) {
            let what = "backoff, which must be above 0 and below 1,";
            return Err(InvalidSetting(Problem::Factor(what, backoff)));
        }
        self.backoff = backoff;
        Ok(self)
    }

    /// Takes a window as bad if its mean duration is above this; never by default.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a year.
    pub fn slow_after(mut self, mean: Duration) -> Result<Self, InvalidSetting> {
        self.slow_after = Duration::from_nanos(nanos("duration that is too slow", mean)?);
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
