//! Adaptive limits in front of simulated upstreams, whose optimal limit follows from Little's law.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use towerkit_concurrency::{
    Adaptive, Aimd, ConcurrencyLimitLayer, LimitAlgorithm, Permit, Vegas, Window,
};
use towerkit_core::{
    Call, CallEnd, Clock, Event, Guard, ManualClock, Outcome, Plain, Policy, RejectionReason,
};

use crate::guards::Limit;

const MS: u64 = 1_000_000;

/// A model of the upstream.
#[derive(Clone, Copy, Debug)]
enum Upstream {
    /// A number of workers, each of which serves a call in the latency.
    Workers(usize),
    /// A pipeline that accepts a number of calls per second, each of which takes the latency.
    Pipeline(u64),
}

impl Upstream {
    /// Returns the lowest limit that uses all of its throughput: throughput times latency.
    fn optimal_limit(self, latency: u64) -> f64 {
        match self {
            Self::Workers(workers) => workers as f64,
            Self::Pipeline(rate) => (rate * latency) as f64 / 1e9,
        }
    }
}

/// A model of the callers.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// A number of clients, each of which calls again after the response, or after a pause if it was rejected.
    Closed(u32),
    /// A number of calls per second, regardless of the responses.
    Open(u64),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SimEvent {
    Arrival,
    Completion(usize),
}

struct Simulation {
    limit: Limit,
    clock_control: ManualClock,
    now: u64,
    windows: Arc<Mutex<Vec<f64>>>,
    upstream: Upstream,
    load: Load,
    latency: u64,
    /// The variation of the duration of single calls, as a fraction of the latency.
    spread: f64,
    timeout: u64,
    events: BinaryHeap<Reverse<(u64, SimEvent)>>,
    calls: Vec<Option<(Permit, u64)>>,
    free: Vec<usize>,
    busy: usize,
    queue: VecDeque<usize>,
    pipeline_free_at: u64,
    random: fastrand::Rng,
}

/// Records the limit of each window of an algorithm.
#[derive(Clone)]
struct Recorded<A> {
    algorithm: A,
    windows: Arc<Mutex<Vec<f64>>>,
}

impl<A: LimitAlgorithm> LimitAlgorithm for Recorded<A> {
    fn update(&mut self, window: &Window) -> f64 {
        self.windows.lock().unwrap().push(window.limit);
        self.algorithm.update(window)
    }
}

const BOUNDS: (u32, u32) = (4, 1_000);

impl Simulation {
    fn new(algorithm: impl LimitAlgorithm + Clone + Sync, upstream: Upstream, load: Load) -> Self {
        let windows = Arc::default();
        let recorded = Recorded {
            algorithm,
            windows: Arc::clone(&windows),
        };
        let (clock, clock_control) = Clock::manual();
        let adaptive = Adaptive::new(recorded)
            .try_limits(BOUNDS.0, BOUNDS.1)
            .unwrap();
        let layer = ConcurrencyLimitLayer::adaptive(adaptive).clock(clock.clone());
        let mut simulation = Self {
            limit: Limit::of(layer),
            clock_control,
            now: clock.now(),
            windows,
            upstream,
            load,
            latency: 10 * MS,
            spread: 0.2,
            timeout: u64::MAX,
            events: BinaryHeap::new(),
            calls: Vec::new(),
            free: Vec::new(),
            busy: 0,
            queue: VecDeque::new(),
            pipeline_free_at: 0,
            random: fastrand::Rng::with_seed(5),
        };
        let clients = match load {
            Load::Closed(clients) => clients,
            Load::Open(_) => 1,
        };
        for client in 0..clients {
            simulation.schedule(u64::from(client), SimEvent::Arrival);
        }
        simulation
    }

    fn schedule(&mut self, later: u64, event: SimEvent) {
        self.events.push(Reverse((self.now + later, event)));
    }

    /// Runs for a number of windows, and returns their limits.
    fn run(&mut self, windows: usize) -> Vec<f64> {
        let start = self.windows.lock().unwrap().len();
        while self.windows.lock().unwrap().len() < start + windows {
            let Reverse((now, event)) = self.events.pop().unwrap();
            self.now = now;
            self.clock_control.set(now);
            match event {
                SimEvent::Arrival => self.arrive(),
                SimEvent::Completion(call) => self.complete(call),
            }
            let limit = self.limit.limit();
            assert!((BOUNDS.0..=BOUNDS.1).contains(&limit));
        }
        self.windows.lock().unwrap()[start..].to_vec()
    }

    fn arrive(&mut self) {
        let protocol = Plain::new("test");
        let admitted = Guard::admit(&self.limit, &mut Call::new(&mut (), &protocol));
        if let Load::Open(rate) = self.load {
            let gap = self.random.u64(0..2 * 1_000_000_000 / rate);
            self.schedule(gap, SimEvent::Arrival);
        }
        match admitted {
            Ok(permit) => self.start(permit),
            Err(_) if matches!(self.load, Load::Closed(_)) => {
                let later = self.random.u64(50 * MS..150 * MS);
                self.schedule(later, SimEvent::Arrival);
            }
            Err(_) => {}
        }
    }

    fn start(&mut self, permit: Permit) {
        let call = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() - 1
        });
        self.calls[call] = Some((permit, self.now));
        match self.upstream {
            Upstream::Workers(workers) if self.busy == workers => self.queue.push_back(call),
            Upstream::Workers(_) => self.work(call),
            Upstream::Pipeline(rate) => {
                self.pipeline_free_at = self.pipeline_free_at.max(self.now) + 1_000_000_000 / rate;
                let duration = self.pipeline_free_at - self.now + self.latency();
                self.schedule(duration, SimEvent::Completion(call));
            }
        }
    }

    fn work(&mut self, call: usize) {
        self.busy += 1;
        let duration = self.latency();
        self.schedule(duration, SimEvent::Completion(call));
    }

    fn latency(&mut self) -> u64 {
        let factor = 1.0 + self.spread * (2.0 * self.random.f64() - 1.0);
        (self.latency as f64 * factor) as u64
    }

    fn complete(&mut self, call: usize) {
        let (permit, since) = self.calls[call].take().unwrap();
        self.free.push(call);
        let outcome = if self.now - since > self.timeout {
            Outcome::TimedOut
        } else {
            Outcome::Success
        };
        self.limit.finish(permit, &CallEnd::new(outcome));
        if matches!(self.upstream, Upstream::Workers(_)) {
            self.busy -= 1;
            if let Some(next) = self.queue.pop_front() {
                self.work(next);
            }
        }
        if matches!(self.load, Load::Closed(_)) {
            self.schedule(0, SimEvent::Arrival);
        }
    }
}

/// Returns the median of each five windows, because a probe lowers the limit for one.
fn medians(limits: &[f64]) -> Vec<f64> {
    let middle = |five: &[f64]| {
        let mut five = five.to_vec();
        five.sort_by(f64::total_cmp);
        five[2]
    };
    limits.windows(5).map(middle).collect()
}

/// Raises and lowers the latency, and checks the limit from thirty windows after each change.
fn check_latency_changes(
    algorithm: impl LimitAlgorithm + Clone + Sync,
    upstream: Upstream,
    load: Load,
    spread: f64,
) {
    let mut simulation = Simulation::new(algorithm, upstream, load);
    simulation.spread = spread;
    simulation.run(30);
    for latency in [10 * MS, 100 * MS, 10 * MS] {
        simulation.latency = latency;
        let best = upstream.optimal_limit(latency);
        let limits = simulation.run(90);
        for limit in medians(&limits[28..]) {
            assert!(
                (0.8 * best..=1.2 * best).contains(&limit),
                "{upstream:?}, {load:?}, {latency} ns: {limit} instead of {best}; {limits:?}"
            );
        }
    }
}

/// LS-05
#[test]
fn vegas_reaches_littles_law_thirty_windows_after_a_change_of_latency() {
    let upstreams = [
        Upstream::Workers(40),
        Upstream::Workers(100),
        Upstream::Pipeline(4_000),
    ];
    for seed in 0..2 {
        fastrand::seed(seed);
        for upstream in upstreams {
            for load in [Load::Closed(900), Load::Open(20_000)] {
                check_latency_changes(Vegas::new(), upstream, load, 0.2);
            }
        }
    }
}

/// With durations that vary from zero to twice the mean the limit is less exact, but stays in range.
#[test]
fn vegas_stays_in_range_if_durations_vary_widely() {
    fastrand::seed(5);
    for upstream in [Upstream::Workers(40), Upstream::Pipeline(4_000)] {
        let mut simulation = Simulation::new(Vegas::new(), upstream, Load::Closed(900));
        simulation.spread = 1.0;
        simulation.run(30);
        for limit in medians(&simulation.run(300)) {
            assert!((24.0..=80.0).contains(&limit), "{upstream:?}: {limit}");
        }
    }
}

/// The optimal limit under a timeout is the throughput times the timeout.
#[test]
fn aimd_stays_just_below_the_load_that_times_out() {
    let upstream = Upstream::Pipeline(4_000);
    let mut simulation = Simulation::new(Aimd::new(), upstream, Load::Closed(900));
    simulation.timeout = 30 * MS;
    simulation.run(200);
    let best = upstream.optimal_limit(30 * MS);
    for limit in simulation.run(200) {
        assert!(
            (0.8 * best..=1.05 * best).contains(&limit),
            "{limit} for {best}"
        );
    }
}

#[test]
fn aimd_treats_a_mean_above_slow_after_as_overload() {
    let algorithm = Aimd::new().slow_after(Duration::from_millis(30)).unwrap();
    let upstream = Upstream::Pipeline(4_000);
    let mut simulation = Simulation::new(algorithm, upstream, Load::Closed(900));
    simulation.run(200);
    let best = upstream.optimal_limit(30 * MS);
    for limit in simulation.run(200) {
        assert!(
            (0.8 * best..=1.1 * best).contains(&limit),
            "{limit} for {best}"
        );
    }
}

/// The guard of Netflix's concurrency-limits, which tower-resilience lacks.
#[test]
fn no_limit_grows_while_less_than_half_of_it_is_used() {
    fn check(algorithm: impl LimitAlgorithm + Clone + Sync) {
        let mut simulation = Simulation::new(algorithm, Upstream::Workers(1_000), Load::Closed(5));
        let limits = simulation.run(100);
        assert!(limits.iter().all(|limit| *limit <= 20.0), "{limits:?}");
    }
    check(Aimd::new());
    check(Vegas::new());
}

/// An algorithm that always returns the same limit, and panics for 7.
#[derive(Clone)]
struct Constant(f64);

impl LimitAlgorithm for Constant {
    fn update(&mut self, _window: &Window) -> f64 {
        assert!(self.0 != 7.0, "the algorithm panics");
        self.0
    }
}

#[test]
fn a_faulty_algorithm_stays_within_the_bounds() {
    for (wanted, expected) in [
        (f64::NAN, 20.0),
        (f64::INFINITY, 1_000.0),
        (f64::NEG_INFINITY, 4.0),
        (-1.0, 4.0),
        (0.0, 4.0),
        (1e300, 1_000.0),
        (7.0, 20.0),
    ] {
        let upstream = Upstream::Workers(1_000);
        let mut simulation = Simulation::new(Constant(wanted), upstream, Load::Closed(900));
        assert_eq!(simulation.run(3)[2], expected, "{wanted}");
    }
}

fn limit_of(algorithm: impl LimitAlgorithm + Clone + Sync) -> (Limit, ManualClock) {
    let (clock, clock_control) = Clock::manual();
    let layer = ConcurrencyLimitLayer::adaptive(Adaptive::new(algorithm)).clock(clock);
    (Limit::of(layer), clock_control)
}

/// Makes fifteen concurrent calls, most of the limit, which all have the same end and fill one window.
fn fill_window(limit: &Limit, clock_control: &ManualClock, end: &CallEnd) {
    let protocol = Plain::new("test");
    let admit = || Guard::admit(limit, &mut Call::new(&mut (), &protocol)).unwrap();
    let mut permits: Vec<_> = (0..15).map(|_| admit()).collect();
    for half in [permits.split_off(7), permits] {
        clock_control.advance(Duration::from_millis(200));
        half.into_iter()
            .for_each(|permit| limit.finish(permit, &end.clone()));
    }
    // Calls that end within one mean duration of a change are ignored.
    clock_control.advance(Duration::from_secs(1));
}

#[test]
fn ends_that_are_unrelated_to_load_do_not_change_the_limit() {
    let (limit, clock_control) = limit_of(Aimd::new());
    for end in [
        CallEnd::new(Outcome::Failure),
        CallEnd::new(Outcome::ClientError),
        CallEnd::rejected_for(RejectionReason::RateLimited),
        CallEnd::cancelled(),
    ] {
        (0..5).for_each(|_| fill_window(&limit, &clock_control, &end));
        assert_eq!(limit.limit(), 20, "{end:?}");
    }
}

#[test]
fn an_overloaded_window_lowers_the_limit_by_a_tenth() {
    let (limit, clock_control) = limit_of(Aimd::new());
    fill_window(&limit, &clock_control, &CallEnd::new(Outcome::Overloaded));
    assert_eq!(limit.limit(), 18);
    fill_window(&limit, &clock_control, &CallEnd::new(Outcome::TimedOut));
    assert_eq!(limit.limit(), 16);
    fill_window(&limit, &clock_control, &CallEnd::new(Outcome::Success));
    assert_eq!(limit.limit(), 17);
}

/// Makes one call, after a pause.
fn call_once(limit: &Limit, clock_control: &ManualClock, pause: u64, took: u64, end: &CallEnd) {
    clock_control.advance(Duration::from_nanos(pause));
    let protocol = Plain::new("test");
    let permit = Guard::admit(limit, &mut Call::new(&mut (), &protocol)).unwrap();
    clock_control.advance(Duration::from_nanos(took));
    limit.finish(permit, &end.clone());
}

/// Returns the time until sequential calls with the same end have lowered the limit.
fn lowered_after(
    limit: &Limit,
    (clock, clock_control): (&Clock, &ManualClock),
    (pause, took): (u64, u64),
    end: &CallEnd,
) -> Duration {
    let (before, since) = (limit.limit(), clock.now());
    while limit.limit() >= before {
        call_once(limit, clock_control, pause, took, end);
        assert!(clock.now() - since < 3_600_000 * MS, "never");
    }
    Duration::from_nanos(clock.now() - since)
}

/// An overload lowers the limit within a second, even if long streams have raised the mean duration.
#[test]
fn a_long_stream_does_not_delay_the_reaction_to_an_overload() {
    fn check(algorithm: impl LimitAlgorithm + Clone + Sync) {
        let minute = 60_000 * MS;
        for (streams, length, pause) in [
            (1, 10 * minute, 0),
            (1, 60 * minute, 0),
            (1, 60 * minute, 990 * MS),
            (5, 60 * minute, 0),
            (5, 60 * minute, 990 * MS),
            (20, 60 * minute, 0),
        ] {
            for ends in [
                CallEnd::new(Outcome::Overloaded),
                CallEnd::new(Outcome::TimedOut),
                CallEnd::rejected_for(RejectionReason::Overloaded),
            ] {
                let (clock, clock_control) = Clock::manual();
                let adaptive = Adaptive::new(algorithm.clone()).initial(40);
                let layer = ConcurrencyLimitLayer::adaptive(adaptive);
                let limit = Limit::of(layer.clock(clock.clone()));
                let protocol = Plain::new("test");
                let admit = || Guard::admit(&limit, &mut Call::new(&mut (), &protocol)).unwrap();
                let open: Vec<_> = (0..streams).map(|_| admit()).collect();
                let start = clock.now();
                while clock.now() - start < length {
                    call_once(
                        &limit,
                        &clock_control,
                        pause,
                        10 * MS,
                        &CallEnd::new(Outcome::Success),
                    );
                }
                for stream in open {
                    limit.finish(stream, &CallEnd::new(Outcome::Success));
                }
                for _ in 0..12 {
                    call_once(
                        &limit,
                        &clock_control,
                        pause,
                        10 * MS,
                        &CallEnd::new(Outcome::Success),
                    );
                }
                let took = lowered_after(&limit, (&clock, &clock_control), (9 * MS, MS), &ends);
                assert!(
                    took <= Duration::from_millis(1_100),
                    "{took:?} after {streams} streams of {} s, calls every {} ms",
                    length / 1_000 / MS,
                    pause / MS + 10,
                );
            }
        }
    }
    check(Aimd::new());
    check(Vegas::new());
}

/// If every call takes ten seconds, a window takes thirty; an overload ends it earlier.
#[test]
fn an_overload_ends_a_long_window_early() {
    let (clock, clock_control) = Clock::manual();
    let layer = ConcurrencyLimitLayer::adaptive(Adaptive::new(Aimd::new()));
    let limit = Limit::of(layer.clock(clock.clone()));
    let protocol = Plain::new("test");
    let admit = || Guard::admit(&limit, &mut Call::new(&mut (), &protocol)).unwrap();
    for _ in 0..10 {
        let permits: Vec<_> = (0..15).map(|_| admit()).collect();
        clock_control.advance(Duration::from_secs(10));
        let finish = |permit| limit.finish(permit, &CallEnd::new(Outcome::Success));
        permits.into_iter().for_each(finish);
    }
    let rejected = CallEnd::new(Outcome::Overloaded);
    for _ in 0..2 {
        let took = lowered_after(&limit, (&clock, &clock_control), (9 * MS, MS), &rejected);
        assert!(took <= Duration::from_millis(1_100), "{took:?}");
    }
}

/// Cancelled calls of one second count as slow for an upstream of 10 ms, even after a stream of an hour.
#[test]
fn a_long_stream_does_not_hide_slow_cancelled_calls() {
    let (clock, clock_control) = Clock::manual();
    let layer = ConcurrencyLimitLayer::adaptive(Adaptive::new(Vegas::new()));
    let limit = Limit::of(layer.clock(clock.clone()));
    let protocol = Plain::new("test");
    for streams in [1, 5] {
        let admit = || Guard::admit(&limit, &mut Call::new(&mut (), &protocol)).unwrap();
        let open: Vec<_> = (0..streams).map(|_| admit()).collect();
        let start = clock.now();
        while clock.now() - start < 3_600_000 * MS {
            call_once(
                &limit,
                &clock_control,
                0,
                10 * MS,
                &CallEnd::new(Outcome::Success),
            );
        }
        for stream in open {
            limit.finish(stream, &CallEnd::new(Outcome::Success));
        }
        for _ in 0..12 {
            call_once(
                &limit,
                &clock_control,
                0,
                10 * MS,
                &CallEnd::new(Outcome::Success),
            );
        }
        let hang = |_| {
            let permits: Vec<_> = (0..limit.limit()).map(|_| admit()).collect();
            clock_control.advance(Duration::from_secs(1));
            let give_up = |permit| limit.finish(permit, &CallEnd::cancelled());
            permits.into_iter().for_each(give_up);
            limit.limit()
        };
        let limits: Vec<_> = (0..10).map(hang).collect();
        assert!(limits.iter().any(|limit| *limit < 20), "{limits:?}");
    }
}

/// Durations are zero if the clock steps back.
#[test]
fn a_clock_that_steps_back_keeps_the_limit_in_bounds() {
    let (limit, clock_control) = limit_of(Vegas::new());
    for _ in 0..50 {
        fill_window(&limit, &clock_control, &CallEnd::new(Outcome::Success));
        clock_control.set(1);
    }
    assert!((4..=1_000).contains(&limit.limit()));
}

#[test]
fn an_adaptive_limit_continues_from_a_limit_that_is_set() {
    let (limit, clock_control) = limit_of(Aimd::new());
    limit.set_limit(18);
    fill_window(&limit, &clock_control, &CallEnd::new(Outcome::Success));
    assert_eq!(limit.limit(), 19);
    limit.set_limit(5_000);
    assert_eq!(limit.limit(), 1_000);
}

#[test]
fn changes_by_a_tenth_are_reported() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let (clock, clock_control) = Clock::manual();
    let layer = ConcurrencyLimitLayer::adaptive(Adaptive::new(Aimd::new()))
        .clock(clock)
        .events(move |event: &Event| sink.lock().unwrap().push(event.clone()));
    let limit = Limit::of(layer);
    for _ in 0..3 {
        fill_window(&limit, &clock_control, &CallEnd::new(Outcome::Success));
    }
    let changed = |from, to| Event::LimitChanged {
        name: "concurrency".into(),
        from,
        to,
    };
    assert_eq!(*seen.lock().unwrap(), [changed(20, 22)]);
}
