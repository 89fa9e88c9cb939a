//! Adaptive limits in front of simulated callees, whose best limit is known by Little's law.

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

/// What stands behind the limit.
#[derive(Clone, Copy, Debug)]
enum Callee {
    /// So many workers, each of which takes the latency for a call.
    Workers(usize),
    /// A pipe that takes so many calls a second, each for the latency.
    Pipe(u64),
}

impl Callee {
    /// The calls that keep it just busy: its throughput times its latency.
    fn best(self, latency: u64) -> f64 {
        match self {
            Self::Workers(workers) => workers as f64,
            Self::Pipe(rate) => (rate * latency) as f64 / 1e9,
        }
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// So many clients, each of which calls again as soon as it has its answer, and a little later if it was rejected.
    Closed(u32),
    /// So many calls a second, whatever becomes of them.
    Open(u64),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Comes,
    Ends(usize),
}

struct Simulation {
    limit: Limit,
    hand: ManualClock,
    now: u64,
    windows: Arc<Mutex<Vec<f64>>>,
    callee: Callee,
    load: Load,
    latency: u64,
    /// How much a single call differs from the latency, as a factor either way.
    spread: f64,
    timeout: u64,
    events: BinaryHeap<Reverse<(u64, Happens)>>,
    calls: Vec<Option<(Permit, u64)>>,
    free: Vec<usize>,
    busy: usize,
    queue: VecDeque<usize>,
    pipe_free_at: u64,
    random: fastrand::Rng,
}

/// Takes note of what an algorithm says, once a window.
#[derive(Clone)]
struct Spied<A> {
    algorithm: A,
    windows: Arc<Mutex<Vec<f64>>>,
}

impl<A: LimitAlgorithm> LimitAlgorithm for Spied<A> {
    fn update(&mut self, window: &Window) -> f64 {
        self.windows.lock().unwrap().push(window.limit);
        self.algorithm.update(window)
    }
}

const BOUNDS: (u32, u32) = (4, 1_000);

impl Simulation {
    fn new(algorithm: impl LimitAlgorithm + Clone + Sync, callee: Callee, load: Load) -> Self {
        let windows = Arc::default();
        let spied = Spied {
            algorithm,
            windows: Arc::clone(&windows),
        };
        let (clock, hand) = Clock::manual();
        let adaptive = Adaptive::new(spied).try_limits(BOUNDS.0, BOUNDS.1).unwrap();
        let layer = ConcurrencyLimitLayer::adaptive(adaptive).clock(clock.clone());
        let mut simulation = Self {
            limit: Limit::of(layer),
            hand,
            now: clock.now(),
            windows,
            callee,
            load,
            latency: 10 * MS,
            spread: 0.2,
            timeout: u64::MAX,
            events: BinaryHeap::new(),
            calls: Vec::new(),
            free: Vec::new(),
            busy: 0,
            queue: VecDeque::new(),
            pipe_free_at: 0,
            random: fastrand::Rng::with_seed(5),
        };
        let clients = match load {
            Load::Closed(clients) => clients,
            Load::Open(_) => 1,
        };
        for client in 0..clients {
            simulation.at(u64::from(client), Happens::Comes);
        }
        simulation
    }

    fn at(&mut self, later: u64, happens: Happens) {
        self.events.push(Reverse((self.now + later, happens)));
    }

    /// Runs until the algorithm was asked so often, and returns the limits of those windows.
    fn run(&mut self, windows: usize) -> Vec<f64> {
        let start = self.windows.lock().unwrap().len();
        while self.windows.lock().unwrap().len() < start + windows {
            let Reverse((now, happens)) = self.events.pop().unwrap();
            self.now = now;
            self.hand.set(now);
            match happens {
                Happens::Comes => self.comes(),
                Happens::Ends(call) => self.ends(call),
            }
            let limit = self.limit.limit();
            assert!((BOUNDS.0..=BOUNDS.1).contains(&limit));
        }
        self.windows.lock().unwrap()[start..].to_vec()
    }

    fn comes(&mut self) {
        let protocol = Plain::new("test");
        let admitted = Guard::admit(&self.limit, &mut Call::new(&mut (), &protocol));
        if let Load::Open(rate) = self.load {
            let gap = self.random.u64(0..2 * 1_000_000_000 / rate);
            self.at(gap, Happens::Comes);
        }
        match admitted {
            Ok(permit) => self.starts(permit),
            Err(_) if matches!(self.load, Load::Closed(_)) => {
                let later = self.random.u64(50 * MS..150 * MS);
                self.at(later, Happens::Comes);
            }
            Err(_) => {}
        }
    }

    fn starts(&mut self, permit: Permit) {
        let call = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() - 1
        });
        self.calls[call] = Some((permit, self.now));
        match self.callee {
            Callee::Workers(workers) if self.busy == workers => self.queue.push_back(call),
            Callee::Workers(_) => self.works(call),
            Callee::Pipe(rate) => {
                self.pipe_free_at = self.pipe_free_at.max(self.now) + 1_000_000_000 / rate;
                let takes = self.pipe_free_at - self.now + self.latency();
                self.at(takes, Happens::Ends(call));
            }
        }
    }

    fn works(&mut self, call: usize) {
        self.busy += 1;
        let takes = self.latency();
        self.at(takes, Happens::Ends(call));
    }

    fn latency(&mut self) -> u64 {
        let factor = 1.0 + self.spread * (2.0 * self.random.f64() - 1.0);
        (self.latency as f64 * factor) as u64
    }

    fn ends(&mut self, call: usize) {
        let (permit, since) = self.calls[call].take().unwrap();
        self.free.push(call);
        let outcome = if self.now - since > self.timeout {
            Outcome::TimedOut
        } else {
            Outcome::Success
        };
        self.limit.finish(permit, &CallEnd::new(outcome));
        if matches!(self.callee, Callee::Workers(_)) {
            self.busy -= 1;
            if let Some(next) = self.queue.pop_front() {
                self.works(next);
            }
        }
        if matches!(self.load, Load::Closed(_)) {
            self.at(0, Happens::Comes);
        }
    }
}

/// The middle one of each five windows, since a probe lowers the limit for one.
fn settled(limits: &[f64]) -> Vec<f64> {
    let middle = |five: &[f64]| {
        let mut five = five.to_vec();
        five.sort_by(f64::total_cmp);
        five[2]
    };
    limits.windows(5).map(middle).collect()
}

/// Runs through a step of the latency up and down, and checks where the limit is thirty windows after each.
fn steps(algorithm: impl LimitAlgorithm + Clone + Sync, callee: Callee, load: Load, spread: f64) {
    let mut simulation = Simulation::new(algorithm, callee, load);
    simulation.spread = spread;
    simulation.run(30);
    for latency in [10 * MS, 100 * MS, 10 * MS] {
        simulation.latency = latency;
        let best = callee.best(latency);
        let limits = simulation.run(90);
        for limit in settled(&limits[28..]) {
            assert!(
                (0.8 * best..=1.2 * best).contains(&limit),
                "{callee:?}, {load:?}, {latency} ns: {limit} is not {best}; {limits:?}"
            );
        }
    }
}

/// LS-05
#[test]
fn vegas_is_at_littles_law_thirty_windows_after_a_step_up_and_down() {
    let callees = [
        Callee::Workers(40),
        Callee::Workers(100),
        Callee::Pipe(4_000),
    ];
    for seed in 0..2 {
        fastrand::seed(seed);
        for callee in callees {
            for load in [Load::Closed(900), Load::Open(20_000)] {
                steps(Vegas::new(), callee, load, 0.2);
            }
        }
    }
}

/// With durations that vary from nothing to twice the mean the limit is less exact, but neither runs away nor collapses.
#[test]
fn vegas_keeps_its_head_where_durations_vary_a_lot() {
    fastrand::seed(5);
    for callee in [Callee::Workers(40), Callee::Pipe(4_000)] {
        let mut simulation = Simulation::new(Vegas::new(), callee, Load::Closed(900));
        simulation.spread = 1.0;
        simulation.run(30);
        for limit in settled(&simulation.run(300)) {
            assert!((24.0..=80.0).contains(&limit), "{callee:?}: {limit}");
        }
    }
}

/// The best limit of a callee that must not take longer than the timeout is its throughput times the timeout.
#[test]
fn aimd_is_just_below_the_load_that_times_out() {
    let callee = Callee::Pipe(4_000);
    let mut simulation = Simulation::new(Aimd::new(), callee, Load::Closed(900));
    simulation.timeout = 30 * MS;
    simulation.run(200);
    let best = callee.best(30 * MS);
    for limit in simulation.run(200) {
        assert!(
            (0.8 * best..=1.05 * best).contains(&limit),
            "{limit} for {best}"
        );
    }
}

#[test]
fn aimd_may_be_told_which_duration_is_too_long() {
    let algorithm = Aimd::new().slow_after(Duration::from_millis(30)).unwrap();
    let callee = Callee::Pipe(4_000);
    let mut simulation = Simulation::new(algorithm, callee, Load::Closed(900));
    simulation.run(200);
    let best = callee.best(30 * MS);
    for limit in simulation.run(200) {
        assert!(
            (0.8 * best..=1.1 * best).contains(&limit),
            "{limit} for {best}"
        );
    }
}

/// Netflix's guard, which tower-resilience lacks.
#[test]
fn no_limit_grows_while_less_than_half_of_it_is_used() {
    fn check(algorithm: impl LimitAlgorithm + Clone + Sync) {
        let mut simulation = Simulation::new(algorithm, Callee::Workers(1_000), Load::Closed(5));
        let limits = simulation.run(100);
        assert!(limits.iter().all(|limit| *limit <= 20.0), "{limits:?}");
    }
    check(Aimd::new());
    check(Vegas::new());
}

/// A limit whose only purpose is to be lowered and raised.
#[derive(Clone)]
struct Always(f64);

impl LimitAlgorithm for Always {
    fn update(&mut self, _window: &Window) -> f64 {
        assert!(self.0 != 7.0, "an algorithm that panics");
        self.0
    }
}

#[test]
fn an_algorithm_without_sense_stays_within_the_bounds() {
    for (wanted, expected) in [
        (f64::NAN, 20.0),
        (f64::INFINITY, 1_000.0),
        (f64::NEG_INFINITY, 4.0),
        (-1.0, 4.0),
        (0.0, 4.0),
        (1e300, 1_000.0),
        (7.0, 20.0),
    ] {
        let callee = Callee::Workers(1_000);
        let mut simulation = Simulation::new(Always(wanted), callee, Load::Closed(900));
        assert_eq!(simulation.run(3)[2], expected, "{wanted}");
    }
}

fn limit_of(algorithm: impl LimitAlgorithm + Clone + Sync) -> (Limit, ManualClock) {
    let (clock, hand) = Clock::manual();
    let layer = ConcurrencyLimitLayer::adaptive(Adaptive::new(algorithm)).clock(clock);
    (Limit::of(layer), hand)
}

/// Makes fifteen calls at once, most of the limit, which all end so and fill one window.
fn calls(limit: &Limit, hand: &ManualClock, end: &CallEnd) {
    let protocol = Plain::new("test");
    let admit = || Guard::admit(limit, &mut Call::new(&mut (), &protocol)).unwrap();
    let mut permits: Vec<_> = (0..15).map(|_| admit()).collect();
    for half in [permits.split_off(7), permits] {
        hand.advance(Duration::from_millis(200));
        half.into_iter()
            .for_each(|permit| limit.finish(permit, &end.clone()));
    }
    // What ends within one mean duration of a change still belongs to the old limit.
    hand.advance(Duration::from_secs(1));
}

#[test]
fn what_says_nothing_of_load_changes_nothing() {
    let (limit, hand) = limit_of(Aimd::new());
    for end in [
        CallEnd::new(Outcome::Failure),
        CallEnd::new(Outcome::ClientError),
        CallEnd::rejected_for(RejectionReason::RateLimited),
        CallEnd::cancelled(),
    ] {
        (0..5).for_each(|_| calls(&limit, &hand, &end));
        assert_eq!(limit.limit(), 20, "{end:?}");
    }
}

#[test]
fn one_bad_window_costs_a_tenth_however_many_calls_were_dropped() {
    let (limit, hand) = limit_of(Aimd::new());
    calls(&limit, &hand, &CallEnd::new(Outcome::Overloaded));
    assert_eq!(limit.limit(), 18);
    calls(&limit, &hand, &CallEnd::new(Outcome::TimedOut));
    assert_eq!(limit.limit(), 16);
    calls(&limit, &hand, &CallEnd::new(Outcome::Success));
    assert_eq!(limit.limit(), 17);
}

/// Makes a call of so much time that ends so, after a pause.
fn one(limit: &Limit, hand: &ManualClock, pause: u64, took: u64, end: &CallEnd) {
    hand.advance(Duration::from_nanos(pause));
    let protocol = Plain::new("test");
    let permit = Guard::admit(limit, &mut Call::new(&mut (), &protocol)).unwrap();
    hand.advance(Duration::from_nanos(took));
    limit.finish(permit, &end.clone());
}

/// Returns the time until calls that come one after the other, and all end so, have lowered the limit.
fn lowered_after(
    limit: &Limit,
    (clock, hand): (&Clock, &ManualClock),
    (pause, took): (u64, u64),
    end: &CallEnd,
) -> Duration {
    let (before, since) = (limit.limit(), clock.now());
    while limit.limit() >= before {
        one(limit, hand, pause, took, end);
        assert!(clock.now() - since < 3_600_000 * MS, "never");
    }
    Duration::from_nanos(clock.now() - since)
}

/// A few streams that end are no reason to take the next rejections for old ones: whatever calls took before, an overload is heard of
/// within a second.
#[test]
fn a_long_stream_does_not_put_an_overload_off() {
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
                let (clock, hand) = Clock::manual();
                let adaptive = Adaptive::new(algorithm.clone()).initial(40);
                let layer = ConcurrencyLimitLayer::adaptive(adaptive);
                let limit = Limit::of(layer.clock(clock.clone()));
                let protocol = Plain::new("test");
                let admit = || Guard::admit(&limit, &mut Call::new(&mut (), &protocol)).unwrap();
                let open: Vec<_> = (0..streams).map(|_| admit()).collect();
                let start = clock.now();
                while clock.now() - start < length {
                    one(
                        &limit,
                        &hand,
                        pause,
                        10 * MS,
                        &CallEnd::new(Outcome::Success),
                    );
                }
                for stream in open {
                    limit.finish(stream, &CallEnd::new(Outcome::Success));
                }
                for _ in 0..12 {
                    one(
                        &limit,
                        &hand,
                        pause,
                        10 * MS,
                        &CallEnd::new(Outcome::Success),
                    );
                }
                let took = lowered_after(&limit, (&clock, &hand), (9 * MS, MS), &ends);
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

/// Where every call takes ten seconds, a window takes thirty; but an overload is not that patient.
#[test]
fn an_overload_does_not_wait_for_the_end_of_a_long_window() {
    let (clock, hand) = Clock::manual();
    let layer = ConcurrencyLimitLayer::adaptive(Adaptive::new(Aimd::new()));
    let limit = Limit::of(layer.clock(clock.clone()));
    let protocol = Plain::new("test");
    let admit = || Guard::admit(&limit, &mut Call::new(&mut (), &protocol)).unwrap();
    for _ in 0..10 {
        let permits: Vec<_> = (0..15).map(|_| admit()).collect();
        hand.advance(Duration::from_secs(10));
        let finish = |permit| limit.finish(permit, &CallEnd::new(Outcome::Success));
        permits.into_iter().for_each(finish);
    }
    let rejected = CallEnd::new(Outcome::Overloaded);
    for _ in 0..2 {
        let took = lowered_after(&limit, (&clock, &hand), (9 * MS, MS), &rejected);
        assert!(took <= Duration::from_millis(1_100), "{took:?}");
    }
}

/// After a stream of an hour, too, callers that give up after a second say that a callee of 10 ms hangs.
#[test]
fn a_long_stream_does_not_make_calls_look_quick_that_were_given_up() {
    let (clock, hand) = Clock::manual();
    let layer = ConcurrencyLimitLayer::adaptive(Adaptive::new(Vegas::new()));
    let limit = Limit::of(layer.clock(clock.clone()));
    let protocol = Plain::new("test");
    for streams in [1, 5] {
        let admit = || Guard::admit(&limit, &mut Call::new(&mut (), &protocol)).unwrap();
        let open: Vec<_> = (0..streams).map(|_| admit()).collect();
        let start = clock.now();
        while clock.now() - start < 3_600_000 * MS {
            one(&limit, &hand, 0, 10 * MS, &CallEnd::new(Outcome::Success));
        }
        for stream in open {
            limit.finish(stream, &CallEnd::new(Outcome::Success));
        }
        for _ in 0..12 {
            one(&limit, &hand, 0, 10 * MS, &CallEnd::new(Outcome::Success));
        }
        let hang = |_| {
            let permits: Vec<_> = (0..limit.limit()).map(|_| admit()).collect();
            hand.advance(Duration::from_secs(1));
            let give_up = |permit| limit.finish(permit, &CallEnd::cancelled());
            permits.into_iter().for_each(give_up);
            limit.limit()
        };
        let limits: Vec<_> = (0..10).map(hang).collect();
        assert!(limits.iter().any(|limit| *limit < 20), "{limits:?}");
    }
}

/// A clock that steps back makes durations of nothing, and no more than that.
#[test]
fn a_clock_that_steps_back_does_no_harm() {
    let (limit, hand) = limit_of(Vegas::new());
    for _ in 0..50 {
        calls(&limit, &hand, &CallEnd::new(Outcome::Success));
        hand.set(1);
    }
    assert!((4..=1_000).contains(&limit.limit()));
}

#[test]
fn a_change_by_hand_is_where_an_adaptive_limit_goes_on() {
    let (limit, hand) = limit_of(Aimd::new());
    limit.change(18).unwrap();
    calls(&limit, &hand, &CallEnd::new(Outcome::Success));
    assert_eq!(limit.limit(), 19);
    limit.change(5_000).unwrap();
    assert_eq!(limit.limit(), 1_000);
}

#[test]
fn changes_of_a_tenth_are_reported() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let (clock, hand) = Clock::manual();
    let layer = ConcurrencyLimitLayer::adaptive(Adaptive::new(Aimd::new()))
        .clock(clock)
        .events(move |event: &Event| sink.lock().unwrap().push(event.clone()));
    let limit = Limit::of(layer);
    for _ in 0..3 {
        calls(&limit, &hand, &CallEnd::new(Outcome::Success));
    }
    let changed = |from, to| Event::LimitChanged {
        name: "concurrency".into(),
        from,
        to,
    };
    assert_eq!(*seen.lock().unwrap(), [changed(20, 22)]);
}
