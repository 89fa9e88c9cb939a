//! Options as the model reads them, and the same for a breaker.

use std::time::Duration;

use proptest::prelude::*;
use towerkit_circuitbreaker::{CircuitBreakerOptions, OpenDuration, OpenWhen, SlowCall, Window};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    pub(crate) conditions: Conditions,
    pub(crate) first: i128,
    /// Numerator, denominator and longest time, where the open time grows.
    pub(crate) growth: Option<(i128, i128, i128)>,
    pub(crate) probes: usize,
    pub(crate) probe_timeout: i128,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Conditions {
    pub(crate) in_a_row: Option<usize>,
    pub(crate) failures: ByWindow,
    pub(crate) slow: ByWindow,
    pub(crate) slow_after: i128,
    /// Whether slow calls are counted while they are in flight.
    pub(crate) while_in_flight: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ByWindow {
    pub(crate) of_last: Option<Share>,
    pub(crate) in_time: Option<Share>,
}

/// A share `of` in `out_of`, of the last so many results or of so many nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) of: i128,
    pub(crate) out_of: i128,
    pub(crate) window: usize,
    pub(crate) minimum: usize,
}

pub(crate) fn options() -> impl Strategy<Value = Given> {
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
        .prop_map(|(conditions, first, growth, probes, probe_timeout)| Given {
            conditions,
            first,
            growth: growth.map(|((times, over), more)| (times, over, first + more)),
            probes,
            probe_timeout,
        })
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
        |(in_a_row, failures, slow, slow_after, while_in_flight)| Conditions {
            in_a_row,
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
        prop::option::weighted(0.4, share(1..13)),
        prop::option::weighted(0.4, share(20..200)),
    )
        .prop_map(|(of_last, in_time)| ByWindow { of_last, in_time })
}

fn share(windows: std::ops::Range<usize>) -> impl Strategy<Value = Share> {
    let minimum = 1..13_usize;
    (windows, minimum, 1..8_i128, 0..8_i128).prop_map(|(window, minimum, of, more)| Share {
        of,
        out_of: of + more,
        window,
        minimum: minimum.min(window),
    })
}

impl Conditions {
    fn count(&self) -> usize {
        let shares = [self.failures, self.slow];
        let shares = shares.iter().flat_map(|by| [by.of_last, by.in_time]);
        shares.flatten().count() + usize::from(self.in_a_row.is_some())
    }

    pub(crate) fn are_about_slow_calls(&self) -> bool {
        self.slow.of_last.is_some() || self.slow.in_time.is_some()
    }

    pub(crate) fn look_for_hanging(&self) -> bool {
        self.are_about_slow_calls() && self.while_in_flight
    }

    /// Whether the same is counted in the same windows.
    pub(crate) fn count_like(&self, other: &Self) -> bool {
        let shape = |conditions: &Self| {
            let windows = [conditions.failures, conditions.slow]
                .map(|by| [by.of_last, by.in_time].map(|share| share.map(|share| share.window)));
            let hang_after = conditions
                .look_for_hanging()
                .then_some(conditions.slow_after);
            (conditions.in_a_row.is_some(), windows, hang_after)
        };
        shape(self) == shape(other)
    }

    fn open_when(&self) -> OpenWhen {
        let slow_call = SlowCall::longer_than(nanos(self.slow_after));
        let slow_call = match self.while_in_flight {
            true => slow_call.while_in_flight(),
            false => slow_call,
        };
        let in_a_row = self
            .in_a_row
            .map(|failures| OpenWhen::consecutive_failures(failures.try_into().unwrap()).unwrap());
        let failures = self.failures.shares().map(|share| {
            share.map(|(window, share)| {
                OpenWhen::failure_rate(share.rate(), window, share.least()).unwrap()
            })
        });
        let slow = self.slow.shares().map(|share| {
            share.map(|(window, share)| {
                OpenWhen::slow_rate(share.rate(), slow_call, window, share.least()).unwrap()
            })
        });
        let all = failures.into_iter().chain(slow).chain([in_a_row]);
        OpenWhen::any(all.flatten()).unwrap()
    }
}

impl ByWindow {
    fn shares(&self) -> [Option<(Window, Share)>; 2] {
        let of_last = |share: Share| (Window::Results(share.window.try_into().unwrap()), share);
        let in_time = |share: Share| (Window::Time(nanos(share.window as i128)), share);
        [self.of_last.map(of_last), self.in_time.map(in_time)]
    }
}

impl Share {
    fn rate(&self) -> f64 {
        self.of as f64 / self.out_of as f64
    }

    fn least(&self) -> u32 {
        self.minimum.try_into().unwrap()
    }
}

impl Given {
    pub(crate) fn options(&self) -> CircuitBreakerOptions {
        let mut open_duration = OpenDuration::new(nanos(self.first)).unwrap();
        if let Some((times, over, longest)) = self.growth {
            let factor = times as f64 / over as f64;
            open_duration = open_duration.growing(factor, nanos(longest)).unwrap();
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
