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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn window(limit: f64, millis: u64) -> Window {
        Window {
            limit,
            in_flight: limit as u32,
            samples: 100,
            mean: Duration::from_millis(millis),
            ..Window::default()
        }
    }

    /// One that has long seen calls of 100 ms.
    fn used_to_100_ms() -> Gradient2 {
        let mut gradient = Gradient2::new();
        for _ in 0..50 {
            let grown = gradient.update(&window(100.0, 100));
            assert!((grown - 100.8).abs() < 1e-9, "{grown}");
        }
        gradient
    }

    fn assert_is(limit: f64, expected: f64) {
        assert!((limit - expected).abs() < 1e-9, "{limit} is not {expected}");
    }

    #[test]
    fn calls_that_take_longer_are_tolerated_to_a_degree() {
        assert_is(used_to_100_ms().update(&window(100.0, 149)), 100.8);
        // A fifth of the way to what is left of the limit at half the speed, and a queue of 4.
        let mut gradient = used_to_100_ms();
        let long = 100.0 + 200.0 * 2.0 / 601.0;
        let expected = 80.0 + 0.2 * (100.0 * 1.5 * long / 300.0 + 4.0);
        assert_is(gradient.update(&window(100.0, 300)), expected);
    }

    #[test]
    fn a_single_window_costs_a_tenth_at_most() {
        let fallen = used_to_100_ms().update(&window(100.0, 1_000_000));
        assert_is(fallen, 80.0 + 0.2 * (50.0 + 4.0));
    }

    #[test]
    fn a_load_that_is_over_is_soon_forgotten() {
        let mut gradient = used_to_100_ms();
        for _ in 0..40 {
            gradient.update(&window(100.0, 10));
        }
        let alarmed = gradient.update(&window(100.0, 100));
        assert!(alarmed < 100.0, "{alarmed}: 100 ms are normal no more");
    }

    #[test]
    fn dropped_calls_cost_a_tenth() {
        let mut overloaded = window(100.0, 100);
        overloaded.drops = 1;
        assert_is(used_to_100_ms().update(&overloaded), 100.8);
        overloaded.drops = 2;
        assert_is(used_to_100_ms().update(&overloaded), 90.0);
    }
}
