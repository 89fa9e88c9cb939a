use fastrand::Rng;

use crate::{LimitAlgorithm, Window, algorithm::BACKOFF};

/// Keeps a short queue at the upstream, whose length it estimates from the latency.
///
/// ```text
/// queue = in flight * (1 - no-load latency / latency)
/// ```
///
/// Let `s` be the largest of `log10(in flight)`, 3 % of the calls in flight, and 1. The limit grows while the queue is shorter than
/// `2 s`, first by `s` and then by twice as much in each window, but by at most half of the limit. It stays while the queue is at
/// most `4 s`, and falls by `s` above.
///
/// # Probes
///
/// The no-load latency is the lowest latency seen. That estimate is wrong if latency rises for another reason than load, because all
/// calls then seem to queue, or if there is a queue from the start, because it is never seen. So after 8 to 16 windows, and
/// whenever the queue seems twice too long, the limit is lowered by a quarter for one window. If latency falls in proportion, there was
/// a queue, and the limit is halved until latency stops falling. Otherwise the current latency is the no-load latency. The limit then
/// follows from [Little's law](https://en.wikipedia.org/wiki/Little%27s_law): throughput times no-load latency. Probes cost a quarter
/// of the throughput in one window of twelve.
///
/// Sources: Brakmo and Peterson, ["TCP Vegas: End to End Congestion Avoidance on a Global
/// Internet"](https://doi.org/10.1109/49.464716), 1995, with the alpha and beta of Linux; `VegasLimit` of [Netflix's
/// concurrency-limits](https://github.com/Netflix/concurrency-limits) for the logarithms. The probes resemble those of
/// [BBR](https://queue.acm.org/detail.cfm?id=3022184) (Cardwell et al., 2016), with jitter, as Netflix's have, so that the instances of
/// a fleet do not probe in step.
#[derive(Debug, Clone)]
pub struct Vegas {
    /// The no-load latency in seconds; 0 before the first window.
    no_load: f64,
    /// The number of successive windows without a queue.
    growing: i32,
    /// The number of windows until the next probe.
    probe_in: u32,
    /// The measurements from before the probe, during a probe.
    before_probe: Option<Measured>,
    random: Rng,
}

/// The measurements of one [`Window`].
#[derive(Debug, Clone, Copy)]
struct Measured {
    limit: f64,
    in_flight: f64,
    latency: f64,
}

impl Measured {
    fn of(window: &Window) -> Self {
        Self {
            limit: window.limit,
            in_flight: f64::from(window.in_flight).min(window.limit).max(1.0),
            latency: window.round_trip(),
        }
    }

    /// Returns the estimated length of the queue.
    fn queue(&self, no_load: f64) -> f64 {
        self.in_flight * (1.0 - (no_load / self.latency).min(1.0))
    }

    /// Returns `s` of the documentation of [`Vegas`].
    fn step(&self) -> f64 {
        self.in_flight.log10().max(self.in_flight * 0.03).max(1.0)
    }
}

impl Vegas {
    const ALPHA: f64 = 2.0;
    const BETA: f64 = 4.0;
    /// The part of the limit that a probe leaves.
    const PROBE: f64 = 0.75;
    /// The tolerated deviation from proportion of a latency that falls with the calls in flight, less than the effect of the tolerated
    /// queue.
    const TOLERANCE: f64 = 0.2;
    /// A no-load latency that rose by this factor is probed again after [`REPROBE_IN`](Self::REPROBE_IN) windows.
    const RISE: f64 = 1.05;
    const REPROBE_IN: u32 = 3;

    /// Creates the algorithm without measurements.
    #[must_use]
    pub fn new() -> Self {
        let mut random = Rng::new();
        Self {
            no_load: 0.0,
            growing: 0,
            probe_in: next_probe(&mut random),
            before_probe: None,
            random,
        }
    }

    /// Lowers the limit after an overload.
    fn back_off(&mut self, limit: f64) -> f64 {
        self.growing = 0;
        self.before_probe = None;
        self.probe_in = next_probe(&mut self.random);
        limit * BACKOFF
    }

    /// Adjusts the limit to the estimated queue, or starts a probe.
    fn adjust(&mut self, measured: Measured) -> f64 {
        self.lower_no_load(measured.latency);
        let (queue, step) = (measured.queue(self.no_load), measured.step());
        self.probe_in -= 1;
        if self.probe_in == 0 || queue > 2.0 * Self::BETA * step {
            return self.probe(measured, Self::PROBE);
        }
        if queue <= Self::ALPHA * step {
            return self.grow(measured.limit, step);
        }
        if queue <= Self::BETA * step {
            self.growing = (self.growing - 1).max(0);
            measured.limit
        } else {
            self.growing = 0;
            measured.limit - step
        }
    }

    /// Lowers the no-load latency: by half of the difference, because the minimum of many means is below the mean, or by all of a
    /// large difference.
    fn lower_no_load(&mut self, latency: f64) {
        if self.no_load == 0.0 || latency < 0.8 * self.no_load {
            self.no_load = latency;
        } else if latency < self.no_load {
            self.no_load = self.no_load.midpoint(latency);
        }
    }

    /// Grows by twice the last step, but by at most half of the limit.
    fn grow(&mut self, limit: f64, step: f64) -> f64 {
        let step = step * f64::from(self.growing.min(16)).exp2();
        self.growing += 1;
        limit + step.min(limit / 2.0)
    }

    /// Starts a probe under a part of the calls in flight.
    fn probe(&mut self, measured: Measured, part: f64) -> f64 {
        self.before_probe = Some(measured);
        measured.in_flight * part
    }

    /// Compares the measurements of a probe with those before it.
    fn finish_probe(&mut self, before: Measured, measured: Measured) -> f64 {
        let load_ratio = measured.in_flight / before.in_flight;
        let latency_ratio = measured.latency / before.latency;
        self.probe_in = next_probe(&mut self.random);
        if load_ratio > 0.95 {
            // The limit is at its minimum, so the probe has no result.
            self.no_load = self.no_load.min(measured.latency);
            return before.limit;
        }
        if measured.latency > Self::RISE * self.no_load {
            // The calls of the probe may include some from before the rise.
            self.probe_in = Self::REPROBE_IN;
        }
        self.no_load = measured.latency;
        // There was a queue: probe further down.
        if latency_ratio < load_ratio + Self::TOLERANCE * (1.0 - load_ratio) {
            self.growing = 0;
            return self.probe(measured, 0.5);
        }
        // Without a queue the latency is the no-load latency: return to the limit that it allows.
        let (queue, step) = (before.queue(self.no_load), before.step());
        if queue <= Self::BETA * step {
            before.limit
        } else {
            self.growing = 0;
            before.in_flight - queue + Self::ALPHA * step
        }
    }
}

/// Returns the number of windows until the next probe: 8 to 16.
fn next_probe(random: &mut Rng) -> u32 {
    random.u32(8..=16)
}

impl Default for Vegas {
    fn default() -> Self {
        Self::new()
    }
}

impl LimitAlgorithm for Vegas {
    fn update(&mut self, window: &Window) -> f64 {
        if window.samples == 0 || window.is_overloaded() {
            return self.back_off(window.limit);
        }
        let measured = Measured::of(window);
        if let Some(before) = self.before_probe.take() {
            return self.finish_probe(before, measured);
        }
        if window.is_app_limited() {
            // So few calls do not queue, so this is the no-load latency.
            self.no_load = measured.latency;
            self.growing = 0;
            return measured.limit;
        }
        self.adjust(measured)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn any_window() -> impl Strategy<Value = Window> {
        let limit = prop_oneof![1.0..2e3_f64, Just(1.0), Just(f64::from(i32::MAX))];
        let mean = prop_oneof![Just(0), 1..1_000_u64, any::<u64>()];
        (limit, any::<u32>(), 0..500_u32, 0..3_u32, mean).prop_map(
            |(limit, in_flight, samples, drops, mean)| Window {
                limit,
                in_flight,
                samples,
                drops,
                mean: Duration::from_nanos(mean),
                min: Duration::ZERO,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// LS-05: the result is a finite number for every sequence of windows.
        #[test]
        fn a_limit_is_a_number(windows in prop::collection::vec(any_window(), 1..40)) {
            let mut vegas = Vegas::new();
            for window in windows {
                let limit = vegas.update(&window);
                prop_assert!(limit.is_finite() && limit >= 0.0, "{limit} after {window:?}");
            }
        }
    }

    #[test]
    fn the_first_probe_comes_after_eight_to_sixteen_windows() {
        let window = Window {
            limit: 100.0,
            in_flight: 100,
            samples: 1_000,
            mean: Duration::from_millis(10),
            ..Window::default()
        };
        for _ in 0..100 {
            let mut vegas = Vegas::new();
            let before = (1..).find(|_| vegas.update(&window) < 100.0).unwrap_or(0);
            assert!((8..=16).contains(&before), "{before}");
        }
    }
}
