use fastrand::Rng;

use crate::{LimitAlgorithm, Window, algorithm::BACKOFF};

/// Keeps a short queue at the callee, which it estimates from how much longer calls take than without load.
///
/// ```text
/// queue = in flight * (1 - duration without load / duration)
/// ```
///
/// With `s`, the largest of `log10(in flight)`, 3 % of the calls in flight and 1: the limit grows while the queue is shorter than `2 s`,
/// first by `s` and then by twice as much each time, though never by more than a half; it stays up to `4 s`, and falls by `s` beyond.
///
/// The duration without load is the least that was seen, and that is also the trap: if calls come to take longer for another reason
/// than load, all of them seem to queue; and if there is a queue from the start, it is never seen. So now and then, after 8 to 16
/// windows, and whenever the queue seems twice too long, the limit is lowered by a quarter for one window. If calls take less time in
/// proportion, there was a queue, and the limit is halved until that ends. If they do not, this is the duration without load. Either
/// way the limit is set from it by Little's law: calls in flight that make full use of the callee are its throughput times that
/// duration. The price is a quarter of the throughput in one window of twelve.
///
/// Sources: Brakmo and Peterson, "TCP Vegas: End to End Congestion Avoidance on a Global Internet", 1995, with the alpha and beta of
/// Linux; `VegasLimit` of Netflix's concurrency-limits for the logarithms; the probes are in the spirit of BBR (Cardwell et al., ACM
/// Queue 14(5), 2016), and jittered, as Netflix's are, so that a fleet does not probe in step.
#[derive(Debug, Clone)]
pub struct Vegas {
    /// The duration without load; 0 as long as nothing was seen.
    no_load: f64,
    /// For how many windows in a row there has been no queue at all.
    growing: i32,
    /// In how many windows to probe.
    probe_in: u32,
    /// What was seen before the limit was lowered, while it is lowered.
    probing: Option<Seen>,
    random: Rng,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    limit: f64,
    in_flight: f64,
    round_trip: f64,
}

impl Seen {
    fn of(window: &Window) -> Self {
        Self {
            limit: window.limit,
            in_flight: f64::from(window.in_flight).min(window.limit).max(1.0),
            round_trip: window.round_trip(),
        }
    }

    fn queue(&self, no_load: f64) -> f64 {
        self.in_flight * (1.0 - (no_load / self.round_trip).min(1.0))
    }

    /// Returns the step, of which alpha is 2 and beta 4.
    fn step(&self) -> f64 {
        self.in_flight.log10().max(self.in_flight * 0.03).max(1.0)
    }
}

impl Vegas {
    const ALPHA: f64 = 2.0;
    const BETA: f64 = 4.0;
    const PROBE: f64 = 0.75;
    /// So far from proportion may a duration be that shrank with the calls in flight: less than if only the tolerated queue went away.
    const DOUBT: f64 = 0.2;
    /// A duration without load that has risen by this factor is looked at again, in so many windows.
    const MORE: f64 = 1.05;
    const SOON: u32 = 3;

    /// Makes one that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let mut random = Rng::new();
        Self {
            no_load: 0.0,
            growing: 0,
            probe_in: next_probe(&mut random),
            probing: None,
            random,
        }
    }

    fn back_off(&mut self, limit: f64) -> f64 {
        self.growing = 0;
        self.probing = None;
        self.probe_in = next_probe(&mut self.random);
        limit * BACKOFF
    }

    fn cruise(&mut self, seen: Seen) -> f64 {
        self.look_for_less(seen.round_trip);
        let (queue, step) = (seen.queue(self.no_load), seen.step());
        self.probe_in -= 1;
        if self.probe_in == 0 || queue > 2.0 * Self::BETA * step {
            return self.lower(seen, Self::PROBE);
        }
        if queue <= Self::ALPHA * step {
            return self.grow(seen.limit, step);
        }
        if queue <= Self::BETA * step {
            self.growing = (self.growing - 1).max(0);
            seen.limit
        } else {
            self.growing = 0;
            seen.limit - step
        }
    }

    /// Lowers the duration without load. Half the way, for the least of many means lies below the mean; all of it if it is far.
    fn look_for_less(&mut self, round_trip: f64) {
        if self.no_load == 0.0 || round_trip < 0.8 * self.no_load {
            self.no_load = round_trip;
        } else if round_trip < self.no_load {
            self.no_load = self.no_load.midpoint(round_trip);
        }
    }

    /// Grows by twice the last step, but not by more than a half.
    fn grow(&mut self, limit: f64, step: f64) -> f64 {
        let step = step * f64::from(self.growing.min(16)).exp2();
        self.growing += 1;
        limit + step.min(limit / 2.0)
    }

    fn lower(&mut self, seen: Seen, to: f64) -> f64 {
        self.probing = Some(seen);
        seen.in_flight * to
    }

    /// Compares what is seen under the lowered limit with what was seen before.
    fn probed(&mut self, before: Seen, seen: Seen) -> f64 {
        let fewer = seen.in_flight / before.in_flight;
        let faster = seen.round_trip / before.round_trip;
        self.probe_in = next_probe(&mut self.random);
        if fewer > 0.95 {
            // The limit is at its minimum: nothing can be learnt.
            self.no_load = self.no_load.min(seen.round_trip);
            return before.limit;
        }
        if seen.round_trip > Self::MORE * self.no_load {
            // Calls that had begun before it rose may have been among these.
            self.probe_in = Self::SOON;
        }
        self.no_load = seen.round_trip;
        if faster < fewer + Self::DOUBT * (1.0 - fewer) {
            self.growing = 0;
            return self.lower(seen, 0.5);
        }
        let (queue, step) = (before.queue(self.no_load), before.step());
        if queue <= Self::BETA * step {
            before.limit
        } else {
            self.growing = 0;
            before.in_flight - queue + Self::ALPHA * step
        }
    }
}

/// Returns in how many windows to probe again: 8 to 16.
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
        let seen = Seen::of(window);
        if let Some(before) = self.probing.take() {
            return self.probed(before, seen);
        }
        if window.is_app_limited() {
            // So few calls do not queue for one another: this is the duration without load.
            self.no_load = seen.round_trip;
            self.growing = 0;
            return seen.limit;
        }
        self.cruise(seen)
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
                least: Duration::ZERO,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// LS-05: whatever it sees, it asks for a number.
        #[test]
        fn a_limit_is_a_number(windows in prop::collection::vec(any_window(), 1..40)) {
            let mut vegas = Vegas::new();
            for window in windows {
                let asked = vegas.update(&window);
                prop_assert!(asked.is_finite() && asked >= 0.0, "{asked} after {window:?}");
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
