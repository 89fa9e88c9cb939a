use crate::{InvalidSetting, LimitAlgorithm, Window, algorithm::BACKOFF, invalid::Problem};

/// Follows the gradient between the mean duration of late and that of the long run.
///
/// ```text
/// gradient = tolerance * long / short, within 0.5 and 1
/// limit    = 0.8 * limit + 0.2 * (gradient * limit + 4)
/// ```
///
/// Means, because durations of calls vary far more than those of packets. A duration that has come to stay becomes the long run in
/// time, and so does, which is the weakness of this algorithm, a queue: under an overload that outlasts the long run the limit drifts up
/// to its maximum. Set one that the callee survives, or take [`Vegas`](crate::Vegas), which looks for the queue again and again.
///
/// Source: `Gradient2Limit` of Netflix's concurrency-limits, with its defaults. Added: a tenth less after a window in which at least
/// one call in a hundred was dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gradient2 {
    tolerance: f64,
    long_window: u32,
    long: f64,
    windows: u32,
}

impl Gradient2 {
    /// Windows of which the long run is a plain mean, before there is enough of it to be smoothed.
    const WARM_UP: u32 = 10;
    const SMOOTHING: f64 = 0.2;
    const QUEUE: f64 = 4.0;

    /// Makes the default: a tolerance of 1.5 and a long run of 600 windows.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tolerance: 1.5,
            long_window: 600,
            long: 0.0,
            windows: 0,
        }
    }

    /// Says how much longer than in the long run calls may take before the limit falls, as a factor; 1.5 by default.
    ///
    /// # Errors
    ///
    /// If it is below 1 or not finite.
    pub fn tolerance(mut self, tolerance: f64) -> Result<Self, InvalidSetting> {
        if !(tolerance >= 1.0 && tolerance.is_finite()) {
            let what = "tolerance, which must be a number not below 1,";
            return Err(InvalidSetting(Problem::Factor(what, tolerance)));
        }
        self.tolerance = tolerance;
        Ok(self)
    }

    /// Says how many windows make the long run; 600 by default.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn long_window(mut self, windows: u32) -> Result<Self, InvalidSetting> {
        if windows == 0 {
            return Err(InvalidSetting(Problem::Zero("long window")));
        }
        self.long_window = windows;
        Ok(self)
    }

    /// Adds a duration to the long run: a plain mean at first, then an exponential one.
    fn add(&mut self, short: f64) {
        self.windows = self.windows.saturating_add(1);
        let weight = if self.windows <= Self::WARM_UP {
            1.0 / f64::from(self.windows)
        } else {
            2.0 / (f64::from(self.long_window) + 1.0)
        };
        self.long += (short - self.long) * weight;
        if self.long > 2.0 * short {
            // The load is over: without this it would take the long run for ever to hear of it.
            self.long *= 0.95;
        }
    }
}

impl Default for Gradient2 {
    fn default() -> Self {
        Self::new()
    }
}

impl LimitAlgorithm for Gradient2 {
    fn update(&mut self, window: &Window) -> f64 {
        if window.samples == 0 || window.is_overloaded() {
            return window.limit * BACKOFF;
        }
        let short = window.round_trip();
        self.add(short);
        let gradient = (self.tolerance * self.long / short).clamp(0.5, 1.0);
        let wanted = gradient * window.limit + Self::QUEUE;
        window.limit + (wanted - window.limit) * Self::SMOOTHING
    }
}
