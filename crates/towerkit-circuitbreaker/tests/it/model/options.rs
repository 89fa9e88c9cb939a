//! Options for the model, and their conversion into options for a breaker.

use std::time::Duration;

use proptest::prelude::*;
use towerkit_circuitbreaker::{CircuitBreakerOptions, OpenDuration, OpenWhen, SlowCall, Window};

#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelOptions {
    pub(crate) conditions: Conditions,
    pub(crate) first: i128,
    /// Numerator, denominator and longest open duration, with backoff.
    pub(crate) growth: Option<(i128, i128, i128)>,
    pub(crate) probes: usize,
    pub(crate) probe_timeout: i128,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Conditions {
    pub(crate) consecutive: Option<usize>,
    pub(crate) failures: ByWindow,
    pub(crate) slow: ByWindow,
    pub(crate) slow_after: i128,
    /// True if slow calls count while they are in flight.
    pub(crate) while_in_flight: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ByWindow {
    pub(crate) by_count: Option<Rate>,
    pub(crate) by_time: Option<Rate>,
}

/// A rate of `of` in `out_of`, among the last so many results or in so many nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) of: i128,
    pub(crate) out_of: i128,
    pub(crate) window: usize,
    pub(crate) minimum: usize,
}

pub(crate) fn options() -> impl Strategy<Value = ModelOptions> {
    let growth = (
        prop::sample::select(vec![(1, 1), (3, 2), (2, 1), (3, 1)]),
        0..60_i128,
    );
    (
        conditions(),
        1..30_i128,
        prop::option::of(growth),
        1..4_usize,
        1..60_i128,
    )
        .prop_map(
            |(conditions, first, growth, probes, probe_timeout)| ModelOptions {
                conditions,
                first,
                growth: growth.map(|((times, over), more)| (times, over, first + more)),
                probes,
                probe_timeout,
            },
        )
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let some = (
        prop::option::weighted(0.3, 1..6_usize),
        by_window(),
        by_window(),
        1..20_i128,
        any::<bool>(),
    );
    some.prop_map(
        |(consecutive, failures, slow, slow_after, while_in_flight)| Conditions {
            consecutive,
            failures,
            slow,
            slow_after,
            while_in_flight,
        },
    )
    .prop_filter("no condition", |conditions| conditions.count() > 0)
}

fn by_window() -> impl Strategy<Value = ByWindow> {
    (
        prop::option::weighted(0.4, rate(1..13)),
        prop::option::weighted(0.4, rate(20..200)),
    )
        .prop_map(|(by_count, by_time)| ByWindow { by_count, by_time })
}

fn rate(windows: std::ops::Range<usize>) -> impl Strategy<Value = Rate> {
    let minimum = 1..13_usize;
    (windows, minimum, 1..8_i128, 0..8_i128).prop_map(|(window, minimum, of, more)| Rate {
        of,
        out_of: of + more,
        window,
        minimum: minimum.min(window),
    })
}

impl Conditions {
    fn count(&self) -> usize {
        let rates = [self.failures, self.slow];
        let rates = rates.iter().flat_map(|by| [by.by_count, by.by_time]);
        rates.flatten().count() + usize::from(self.consecutive.is_some())
    }

    pub(crate) fn are_about_slow_calls(&self) -> bool {
        self.slow.by_count.is_some() || self.slow.by_time.is_some()
    }

    pub(crate) fn count_slow_in_flight(&self) -> bool {
        self.are_about_slow_calls() && self.while_in_flight
    }

    /// Returns true if both count the same results in the same windows.
    pub(crate) fn count_like(&self, other: &Self) -> bool {
        let shape = |conditions: &Self| {
            let windows = [conditions.failures, conditions.slow]
                .map(|by| [by.by_count, by.by_time].map(|rate| rate.map(|rate| rate.window)));
            let hang_after = conditions
                .count_slow_in_flight()
                .then_some(conditions.slow_after);
            (conditions.consecutive.is_some(), windows, hang_after)
        };
        shape(self) == shape(other)
    }

    fn open_when(&self) -> OpenWhen {
        let slow_call = SlowCall::longer_than(nanos(self.slow_after));
        let slow_call = match self.while_in_flight {
            true => slow_call.while_in_flight(),
            false => slow_call,
        };
        let consecutive = self
            .consecutive
            .map(|failures| OpenWhen::consecutive_failures(failures.try_into().unwrap()).unwrap());
        let failures = self.failures.rates().map(|rate| {
            rate.map(|(window, rate)| {
                OpenWhen::failure_rate(rate.rate(), window, rate.minimum()).unwrap()
            })
        });
        let slow = self.slow.rates().map(|rate| {
            rate.map(|(window, rate)| {
                OpenWhen::slow_rate(rate.rate(), slow_call, window, rate.minimum()).unwrap()
            })
        });
        let all = failures.into_iter().chain(slow).chain([consecutive]);
        OpenWhen::any(all.flatten()).unwrap()
    }
}

impl ByWindow {
    fn rates(&self) -> [Option<(Window, Rate)>; 2] {
        let by_count = |rate: Rate| (Window::Results(rate.window.try_into().unwrap()), rate);
        let by_time = |rate: Rate| (Window::Time(nanos(rate.window as i128)), rate);
        [self.by_count.map(by_count), self.by_time.map(by_time)]
    }
}

impl Rate {
    fn rate(&self) -> f64 {
        self.of as f64 / self.out_of as f64
    }

    fn minimum(&self) -> u32 {
        self.minimum.try_into().unwrap()
    }
}

impl ModelOptions {
    pub(crate) fn to_options(self) -> CircuitBreakerOptions {
        let mut open_duration = OpenDuration::new(nanos(self.first)).unwrap();
        if let Some((times, over, longest)) = self.growth {
            let factor = times as f64 / over as f64;
            open_duration = open_duration.backoff(factor, nanos(longest)).unwrap();
        }
        CircuitBreakerOptions::default()
            .open_when(self.conditions.open_when())
            .open_duration(open_duration)
            .probes(self.probes.try_into().unwrap())
            .unwrap()
            .probe_timeout(nanos(self.probe_timeout))
            .unwrap()
    }
}

fn nanos(nanos: i128) -> Duration {
    Duration::from_nanos(nanos.try_into().unwrap())
}
