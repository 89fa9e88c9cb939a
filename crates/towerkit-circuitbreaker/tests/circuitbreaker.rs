//! The circuit breaker as a caller sees it.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_circuitbreaker::{
    CircuitBreaker, CircuitBreakerLayer, CircuitBroken, State, Trip, Verdict,
};
use towerkit_core::{
    BoxError, Clock, Event, LayerExt, ManualClock, Outcome, Plain, Reason, Refusable,
};
use towerkit_http::HttpExt;
use towerkit_test::{Act, Ledger, Probe, ProbeError};

const OPEN_FOR: Duration = Duration::from_secs(10);

/// A breaker around a probe, on a clock that is moved by hand.
struct Setup {
    service: CircuitBroken<Probe>,
    breaker: CircuitBreaker,
    ledger: Arc<Ledger>,
    hand: ManualClock,
}

impl Setup {
    fn new(layer: CircuitBreakerLayer) -> Self {
        let (clock, hand) = Clock::manual();
        let layer = layer.clock(clock);
        let probe = Probe::new();
        Self {
            breaker: layer.handle(),
            ledger: probe.ledger(),
            service: layer.layer(probe),
            hand,
        }
    }

    /// Opens at the second failure in a row.
    fn consecutive() -> Self {
        Self::new(consecutive())
    }

    /// The next call is a probe, of `probes`.
    fn half_open(probes: u16) -> Self {
        let setup = Self::new(consecutive().probes(probes).unwrap());
        setup.open();
        setup.hand.advance(OPEN_FOR);
        setup
    }

    /// Starts a call, which is admitted or refused here, and returns its future.
    fn start(&self, act: Act) -> Calling {
        self.ready().call(act)
    }

    fn ready(&self) -> CircuitBroken<Probe> {
        let mut service = self.service.clone();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Service::<Act>::poll_ready(&mut service, &mut cx).is_ready());
        service
    }

    fn call(&self, act: Act) -> Result<Act, ProbeError> {
        ended(self.start(act))
    }

    fn succeed(&self, times: usize) {
        for _ in 0..times {
            self.call(Act::Succeed).unwrap();
        }
    }

    fn fail(&self, times: usize) {
        for _ in 0..times {
            assert!(self.call(Act::Fail).unwrap_err().is_failed());
        }
    }

    fn open(&self) {
        self.fail(2);
        assert_eq!(self.breaker.state(), State::Open);
    }

    /// Returns the wait that a refused call is told, and sees to it that nothing reached the service.
    fn refused(&self) -> Option<Duration> {
        let (polls, started) = (self.ledger.polls(), self.ledger.started());
        let error = self.call(Act::Succeed).unwrap_err();
        let rejection = error.rejection().expect("a refusal");
        assert_eq!(rejection.reason(), Reason::CircuitOpen);
        assert_eq!(
            (self.ledger.polls(), self.ledger.started()),
            (polls, started)
        );
        rejection.wait()
    }
}

type Calling = <CircuitBroken<Probe> as Service<Act>>::Future;

fn consecutive() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new().trip(Trip::consecutive_failures(2).unwrap())
}

fn rate(rate: f64, window: u16, minimum: u16) -> Setup {
    let trip = Trip::failure_rate(rate, window, minimum).unwrap();
    Setup::new(CircuitBreakerLayer::new().trip(trip))
}

/// Polls a call of the probe to its end.
fn ended<T>(call: impl Future<Output = T>) -> T {
    let mut call = pin!(call);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = call.as_mut().poll(&mut cx) {
            return result;
        }
    }
}

fn panics(call: impl FnOnce()) -> bool {
    std::panic::catch_unwind(AssertUnwindSafe(call)).is_err()
}

/// GK-BR-1
#[test]
fn failures_in_a_row_open_the_breaker_and_a_success_begins_again() {
    let setup = Setup::consecutive();
    for _ in 0..3 {
        setup.fail(1);
        setup.succeed(1);
    }
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// CB-09
#[test]
fn one_failure_after_a_rest_does_not_open_the_breaker() {
    let setup = Setup::new(CircuitBreakerLayer::new());
    setup.hand.advance(Duration::from_secs(86_400));
    setup.fail(19);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// CB-09: the window slides with every result.
#[test]
fn a_failure_is_forgotten_when_it_leaves_the_window() {
    let setup = rate(0.5, 10, 1);
    setup.succeed(3);
    setup.fail(1);
    for later in 1..10 {
        setup.succeed(1);
        assert_eq!(setup.breaker.snapshot().failures, 1, "after {later}");
    }
    setup.succeed(1);
    assert_eq!(setup.breaker.snapshot().failures, 0);
    assert_eq!(setup.breaker.snapshot().results, 10);
}

/// The count window of a peer kept everything since the last change of state: 10 000 more failures did not open it.
#[test]
fn a_long_good_time_does_not_delay_opening() {
    let setup = rate(0.5, 10, 10);
    setup.succeed(10_000);
    setup.fail(4);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

#[test]
fn a_success_opens_the_breaker_if_it_completes_a_bad_minimum() {
    let setup = rate(0.5, 10, 4);
    setup.fail(3);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

#[test]
fn a_rate_is_reached_by_the_quotient_that_it_is_written_as() {
    for (failures, results) in [(1, 3), (2, 3), (1, 10), (3, 10), (7, 10), (1, 1)] {
        let setup = rate(f64::from(failures) / f64::from(results), 100, 1);
        setup.succeed((results - failures) as usize);
        setup.fail(failures as usize);
        assert_eq!(
            setup.breaker.state(),
            State::Open,
            "{failures} in {results}"
        );
    }
}

/// CB-07: the service is neither polled for readiness nor called.
#[test]
fn an_open_breaker_refuses_without_a_word_to_the_service() {
    let setup = Setup::consecutive();
    setup.open();
    assert_eq!(setup.refused(), Some(OPEN_FOR));
    setup.hand.advance(OPEN_FOR - Duration::from_nanos(1));
    assert_eq!(setup.refused(), Some(Duration::from_nanos(1)));
}

/// CB-07: the mean of the best of 20 batches, so that a busy machine does not count.
#[test]
fn a_refusal_takes_less_than_ten_microseconds() {
    let setup = Setup::consecutive();
    setup.open();
    let batch = |_| {
        let start = Instant::now();
        for _ in 0..1000 {
            assert!(setup.call(Act::Succeed).is_err());
        }
        start.elapsed() / 1000
    };
    let mean = (0..20).map(batch).min().unwrap();
    assert!(mean < Duration::from_micros(10), "{mean:?}");
}

/// A service that was ready when the breaker opened, and one that was shut out and is called when the time is over.
#[test]
fn what_readiness_said_does_not_decide_the_call() {
    let setup = Setup::consecutive();
    let mut ready = setup.ready();
    setup.open();
    assert!(
        ended(ready.call(Act::Succeed))
            .unwrap_err()
            .rejection()
            .is_some()
    );

    let mut shut = setup.ready();
    setup.hand.advance(OPEN_FOR);
    assert!(
        ended(shut.call(Act::Succeed))
            .unwrap_err()
            .rejection()
            .is_some()
    );
    assert_eq!(setup.breaker.snapshot().probes_in_flight, 0);
    setup.succeed(1);
}

/// GK-BR-2: who waits as told is a probe; its success closes the breaker, its failure opens it for another full time.
#[test]
fn a_probe_closes_or_reopens() {
    let setup = Setup::consecutive();
    setup.open();
    for _ in 0..3 {
        setup.hand.advance(setup.refused().unwrap());
        setup.fail(1);
        assert_eq!(setup.breaker.state(), State::Open);
        assert_eq!(setup.refused(), Some(OPEN_FOR));
    }
    setup.hand.advance(OPEN_FOR);
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-01
#[test]
fn no_more_probes_than_allowed_reach_the_service_whoever_comes_at_once() {
    for probes in [1, 3, 10] {
        for _ in 0..10 {
            let setup = Setup::half_open(probes);
            let before = setup.ledger.started();
            let start = Barrier::new(64);
            let calls: Vec<Calling> = thread::scope(|scope| {
                let call = || {
                    start.wait();
                    setup.start(Act::Succeed)
                };
                let threads: Vec<_> = (0..64).map(|_| scope.spawn(call)).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .collect()
            });
            let limit = u64::from(probes);
            assert_eq!(setup.ledger.started() - before, limit);
            assert_eq!(setup.breaker.snapshot().probes_in_flight, probes);
            let served = calls.into_iter().filter_map(|call| ended(call).ok());
            assert_eq!(served.count() as u64, limit);
            assert_eq!(setup.breaker.state(), State::Closed);
        }
    }
}

/// CB-01: a probe that has succeeded keeps its place until the breaker closes.
#[test]
fn a_finished_probe_makes_no_room_for_more_than_are_needed() {
    let setup = Setup::half_open(2);
    let slow = setup.start(Act::Pend(1));
    setup.succeed(1);
    assert_eq!(setup.breaker.snapshot().probes_succeeded, 1);
    assert_eq!(setup.refused(), None);
    ended(slow).unwrap();
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-02
#[test]
fn a_dropped_probe_gives_its_place_to_the_next_call() {
    let setup = Setup::half_open(1);
    for _ in 0..3 {
        let probe = setup.start(Act::Pend(9));
        assert_eq!(setup.refused(), None);
        drop(probe);
    }
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-04
#[test]
fn a_result_from_before_counts_neither_half_open_nor_closed_again() {
    for act in [Act::Succeed, Act::Fail] {
        let setup = Setup::new(consecutive().probes(2).unwrap());
        let late: Vec<_> = (0..4).map(|_| setup.start(act)).collect();
        setup.open();
        setup.hand.advance(OPEN_FOR);
        setup.succeed(1);
        let half_open = setup.breaker.snapshot();
        assert_eq!(half_open.state, State::HalfOpen);
        let mut late = late.into_iter();
        for call in late.by_ref().take(2) {
            assert_eq!(ended(call).is_ok(), act == Act::Succeed);
            assert_eq!(setup.breaker.snapshot(), half_open);
        }
        setup.succeed(1);
        setup.fail(1);
        let closed = setup.breaker.snapshot();
        assert_eq!((closed.state, closed.failures), (State::Closed, 1));
        for call in late {
            assert_eq!(ended(call).is_ok(), act == Act::Succeed);
            assert_eq!(setup.breaker.snapshot(), closed);
        }
    }
}

/// CB-05
#[test]
fn a_call_from_before_that_is_cancelled_half_open_makes_no_place() {
    let setup = Setup::consecutive();
    let late = setup.start(Act::Pend(9));
    setup.open();
    setup.hand.advance(OPEN_FOR);
    let probe = setup.start(Act::Pend(1));
    drop(late);
    assert_eq!(setup.breaker.snapshot().probes_in_flight, 1);
    assert_eq!(setup.refused(), None);
    ended(probe).unwrap();
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-06, GK-BR-4
#[test]
fn a_panic_is_one_failure_and_goes_on() {
    for act in [Act::PanicInCall, Act::PanicInFuture] {
        let setup = Setup::consecutive();
        assert!(panics(|| drop(setup.call(act))));
        assert_eq!(setup.breaker.snapshot().failures, 1);
        setup.succeed(1);

        let setup = Setup::half_open(2);
        assert!(panics(|| drop(setup.call(act))));
        assert_eq!(setup.refused(), Some(OPEN_FOR));
    }
}

/// CB-11
#[test]
fn a_straggler_does_not_lengthen_the_open_time() {
    for act in [Act::Succeed, Act::Fail] {
        let setup = Setup::consecutive();
        let late = setup.start(act);
        setup.open();
        setup.hand.advance(OPEN_FOR / 2);
        let _ = ended(late);
        assert_eq!(setup.refused(), Some(OPEN_FOR / 2));
        setup.hand.advance(OPEN_FOR / 2);
        setup.succeed(1);
    }
}

/// CB-10: what is judged stands in the tests of [`Verdict::of`].
#[test]
fn a_cancelled_call_does_not_count() {
    let setup = Setup::consecutive();
    for _ in 0..10 {
        drop(setup.start(Act::Pend(1)));
    }
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.failures), (State::Closed, 0));
}

/// CB-10: the outer breaker ignores what the inner one refuses, and gets the probe's place back.
#[test]
fn a_refusal_further_in_does_not_count() {
    let (clock, hand) = Clock::manual();
    let inner = consecutive().clock(clock.clone());
    let outer = consecutive().clock(clock);
    let (inside, outside) = (inner.handle(), outer.handle());
    let service = outer.layer(inner.layer(service_fn(|act| async move {
        match act {
            Act::Fail => Err(BoxError::from("failed")),
            act => Ok(act),
        }
    })));
    let call = |act| ended(service.clone().oneshot(act));
    inside.force_open();
    for _ in 0..10 {
        assert!(call(Act::Succeed).unwrap_err().rejection().is_some());
    }
    assert_eq!(outside.state(), State::Closed);
    assert_eq!(outside.snapshot().failures, 0);

    inside.release();
    let _ = (call(Act::Fail), call(Act::Fail));
    assert_eq!(
        (outside.state(), inside.state()),
        (State::Open, State::Open)
    );
    inside.force_open();
    hand.advance(OPEN_FOR);
    assert!(call(Act::Succeed).is_err());
    assert_eq!(outside.state(), State::HalfOpen);
    assert_eq!(outside.snapshot().probes_in_flight, 0);
    inside.release();
    call(Act::Succeed).unwrap();
    assert_eq!(outside.state(), State::Closed);
}

/// CB-10
#[test]
fn a_verdict_of_ones_own_decides_what_counts() {
    let layer = consecutive().verdict(|end| match end.outcome() {
        Outcome::Cancelled => Verdict::Failure,
        Outcome::Failure => Verdict::Ignored,
        _ => Verdict::of(end),
    });
    let setup = Setup::new(layer);
    setup.fail(10);
    drop(setup.start(Act::Pend(1)));
    assert_eq!(setup.breaker.snapshot().failures, 1);
    setup.succeed(1);
    assert_eq!(setup.breaker.snapshot().failures, 0);
    assert!(panics(|| drop(setup.call(Act::PanicInFuture))));
    assert_eq!(setup.breaker.snapshot().failures, 1);
}

/// While a panic unwinds through a call, a second one would abort the process.
#[test]
fn a_verdict_that_panics_is_passed_over() {
    let setup = Setup::new(consecutive().verdict(|_| panic!("no verdict")));
    setup.fail(1);
    assert_eq!(setup.breaker.snapshot().failures, 1);
    assert!(panics(|| {
        let _call = setup.start(Act::Pend(1));
        panic!("around the call");
    }));
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

#[test]
fn a_business_failure_counts_when_asked_for() {
    let layer = consecutive();
    let breaker = layer.handle();
    let protocol = Plain::new("probe").classify(|result: &Result<Act, ProbeError>| match result {
        Ok(Act::Pend(_)) => Outcome::Failure,
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::ClientError,
    });
    let service = layer.protocol(protocol).layer(Probe::new());
    for _ in 0..10 {
        let _ = ended(service.clone().oneshot(Act::Fail));
    }
    assert_eq!(breaker.state(), State::Closed);
    for _ in 0..2 {
        ended(service.clone().oneshot(Act::Pend(1))).unwrap();
    }
    assert_eq!(breaker.state(), State::Open);
}

/// CB-13
#[test]
fn a_breaker_forced_open_refuses_until_it_is_released() {
    let setup = Setup::consecutive();
    setup.fail(1);
    setup.breaker.force_open();
    setup.hand.advance(100 * OPEN_FOR);
    assert_eq!(setup.refused(), None);
    setup.breaker.release();
    assert_eq!(setup.breaker.snapshot().failures, 0);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-13
#[test]
fn a_breaker_forced_closed_counts_but_does_not_open() {
    let setup = Setup::consecutive();
    setup.open();
    setup.breaker.force_closed();
    setup.fail(10);
    let snapshot = setup.breaker.snapshot();
    assert_eq!(
        (snapshot.state, snapshot.failures),
        (State::ForcedClosed, 10)
    );
    setup.breaker.release();
    setup.fail(1);
    assert_eq!(setup.breaker.snapshot().failures, 1);
}

/// CB-13
#[test]
fn a_disabled_breaker_counts_nothing() {
    let setup = Setup::half_open(1);
    let probe = setup.start(Act::Fail);
    setup.breaker.disable();
    setup.fail(10);
    assert!(ended(probe).is_err());
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.failures), (State::Disabled, 0));
    setup.breaker.release();
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-13: a release of what is not forced would close an open breaker by accident.
#[test]
fn a_release_without_an_override_does_nothing() {
    let setup = Setup::consecutive();
    setup.fail(1);
    setup.breaker.release();
    setup.fail(1);
    setup.breaker.release();
    assert_eq!(setup.refused(), Some(OPEN_FOR));
}

/// A clock may step back, see `Clock::fast`.
#[test]
fn a_clock_that_steps_back_neither_panics_nor_promises_too_long_a_wait() {
    let setup = Setup::consecutive();
    setup.open();
    setup.hand.set(0);
    assert_eq!(setup.refused(), Some(OPEN_FOR));
    setup.hand.set(u64::MAX);
    setup.fail(1);
    setup.hand.set(1);
    assert_eq!(setup.breaker.state(), State::Open);
    let _ = setup.call(Act::Succeed);
}

#[test]
fn services_of_one_layer_share_the_breaker() {
    let layer = consecutive().plain("probe");
    let one = layer.layer(Probe::new());
    let other = layer.clone().layer(Probe::new());
    let _ = (
        ended(one.oneshot(Act::Fail)),
        ended(other.oneshot(Act::Fail)),
    );
    assert_eq!(layer.handle().state(), State::Open);
}

/// CB-17
#[test]
fn every_change_is_one_event_and_a_sink_may_use_the_breaker() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let shared = Arc::new(Mutex::new(None::<CircuitBreaker>));
    let breaker = shared.clone();
    let setup = Setup::new(consecutive().name("stock").events(move |event: &Event| {
        if let Some(breaker) = &*breaker.lock().unwrap() {
            let _ = breaker.snapshot();
        }
        seen.lock().unwrap().push(event.clone());
    }));
    *shared.lock().unwrap() = Some(setup.breaker.clone());
    setup.open();
    setup.hand.advance(OPEN_FOR);
    setup.succeed(1);
    setup.breaker.force_open();
    setup.breaker.force_open();
    setup.breaker.release();
    setup.breaker.release();
    let states = [
        "closed",
        "open",
        "half_open",
        "closed",
        "forced_open",
        "closed",
    ];
    let expected = states.windows(2).map(|pair| Event::CircuitChanged {
        name: "stock",
        from: pair[0],
        to: pair[1],
    });
    assert_eq!(*events.lock().unwrap(), expected.collect::<Vec<_>>());
}

/// CB-17: 10⁶ changes from four threads.
#[test]
fn events_of_many_threads_are_a_path_through_the_legal_changes() {
    const CHANGES: u64 = 1_000_000;
    let path = Arc::new(Mutex::new(Path::default()));
    let count = Arc::new(AtomicU64::new(0));
    let (seen, counted) = (path.clone(), count.clone());
    let layer = CircuitBreakerLayer::new()
        .trip(Trip::consecutive_failures(1).unwrap())
        .open_for(Duration::from_nanos(1))
        .unwrap()
        .events(move |event: &Event| {
            seen.lock().unwrap().follow(event);
            counted.fetch_add(1, Ordering::Relaxed);
        });
    let setup = Setup::new(layer);
    let turn = Barrier::new(4);
    thread::scope(|scope| {
        for seed in 1..=4 {
            let (setup, turn, count) = (&setup, &turn, &count);
            let is_done = || count.load(Ordering::Relaxed) >= CHANGES;
            scope.spawn(move || drive(setup, seed, turn, is_done));
        }
    });
    let path = path.lock().unwrap();
    assert_eq!(path.illegal, Vec::new());
    assert_eq!(path.at, setup.breaker.state().as_str());
}

/// Where the events lead, from a closed breaker, and the changes among them that there should not be.
struct Path {
    at: &'static str,
    illegal: Vec<(&'static str, Event)>,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            at: "closed",
            illegal: Vec::new(),
        }
    }
}

impl Path {
    fn follow(&mut self, event: &Event) {
        if let Event::CircuitChanged { from, to, .. } = event {
            if self.at != *from || !is_legal(from, to) {
                self.illegal.push((self.at, event.clone()));
            }
            self.at = to;
        }
    }
}

/// Calls, forces and releases at random until it is done.
///
/// The threads meet every 100 steps. An outbox holds 1024 events and drops the ones that come while its sink is that far behind;
/// where all threads have met, it is empty.
fn drive(setup: &Setup, seed: u64, turn: &Barrier, is_done: impl Fn() -> bool) {
    let mut random = seed;
    loop {
        for _ in 0..100 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            setup.hand.advance(Duration::from_nanos(1));
            match random >> 60 {
                0 => setup.breaker.force_open(),
                1 => setup.breaker.force_closed(),
                2 => setup.breaker.disable(),
                3..7 => setup.breaker.release(),
                7..12 => drop(setup.call(Act::Fail)),
                _ => drop(setup.call(Act::Succeed)),
            }
        }
        turn.wait();
        let is_done = is_done();
        turn.wait();
        if is_done {
            return;
        }
    }
}

fn is_legal(from: &str, to: &str) -> bool {
    let is_forced = |state: &str| state.starts_with("forced") || state == "disabled";
    match (from, to) {
        ("closed" | "half_open", "open") | ("open", "half_open") | ("half_open", "closed") => true,
        (from, to) if is_forced(to) => from != to,
        (from, to) => is_forced(from) && to == "closed",
    }
}

#[test]
fn over_http_a_refusal_is_503_and_over_grpc_unavailable() {
    let (clock, _hand) = Clock::manual();
    let layer = consecutive().clock(clock);
    let request = || http::Request::new(Act::Succeed);
    let _ = (
        ended(layer.layer(Probe::new()).oneshot(Act::Fail)),
        ended(layer.layer(Probe::new()).oneshot(Act::Fail)),
    );
    let refused = ended(layer.clone().http().layer(Probe::new()).oneshot(request())).unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "10");
    let refused = ended(layer.grpc().layer(Probe::new()).oneshot(request())).unwrap();
    assert_eq!(refused.headers()["grpc-status"], "14");
}
