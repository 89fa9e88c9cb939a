//! Slow calls.

use std::time::Duration;

use tower::{Layer, ServiceExt, service_fn};
use towerkit_circuitbreaker::{
    CircuitBreakerLayer, CountAs, KeyedCircuitBreakerLayer, OpenWhen, SlowCall, State, WhenFull,
};
use towerkit_core::{
    BoxError, Call, CallEnd, CarriesRejection, Clock, Guard, IntoPolicy, Outcome, Plain, Policy,
    Rejection, RejectionReason,
};
use towerkit_http::HttpExt;
use towerkit_test::{Action, Probe};

use super::setup::{OPEN_FOR, Setup, ended};

const SLOW_AFTER: Duration = Duration::from_secs(2);
const NANO: Duration = Duration::from_nanos(1);

fn layer() -> CircuitBreakerLayer {
    let open_when = OpenWhen::slow_rate(0.5, SLOW_AFTER, 10, 2).unwrap();
    CircuitBreakerLayer::new().open_when(open_when)
}

/// Makes a successful call that takes this long.
fn call_lasting(setup: &Setup, time: Duration) {
    let call = setup.start(Action::Succeed);
    setup.clock_control.advance(time);
    ended(call).unwrap();
}

#[test]
fn calls_longer_than_the_threshold_open_the_breaker() {
    let setup = Setup::new(layer());
    call_lasting(&setup, SLOW_AFTER);
    call_lasting(&setup, SLOW_AFTER);
    assert_eq!(setup.breaker.snapshot().slow, 0);
    call_lasting(&setup, SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.snapshot().slow, 1);
    assert_eq!(setup.breaker.state(), State::Closed);
    call_lasting(&setup, SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// In a time window, slow calls leave the window.
#[test]
fn slow_calls_leave_a_time_window() {
    let window = Duration::from_secs(60);
    let open_when = OpenWhen::slow_rate(0.5, SLOW_AFTER, window, 2).unwrap();
    let setup = Setup::new(CircuitBreakerLayer::new().open_when(open_when));
    call_lasting(&setup, SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.snapshot().slow, 1);
    setup.clock_control.advance(window);
    assert_eq!(setup.breaker.snapshot().slow, 0);
    call_lasting(&setup, SLOW_AFTER + NANO);
    call_lasting(&setup, SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// A timeout outside the breaker cancels slow calls, which still count.
#[test]
fn a_call_cancelled_after_the_threshold_is_slow_and_an_earlier_one_does_not_count() {
    let setup = Setup::new(layer());
    let cancelled_after = |time| {
        let call = setup.start(Action::Pend(9));
        setup.clock_control.advance(time);
        drop(call);
    };
    for _ in 0..10 {
        cancelled_after(SLOW_AFTER);
    }
    assert_eq!(setup.breaker.snapshot().results, 0);
    cancelled_after(SLOW_AFTER + NANO);
    let snapshot = setup.breaker.snapshot();
    assert_eq!(
        (snapshot.results, snapshot.slow, snapshot.failures),
        (1, 1, 0)
    );
    cancelled_after(SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// A call cancelled after a successful head is a success, and slow if it ran for too long.
#[test]
fn a_call_cancelled_after_its_head_counts_by_its_head() {
    for (time, slow) in [(SLOW_AFTER, 0), (SLOW_AFTER + NANO, 1)] {
        let (clock, clock_control) = Clock::manual();
        let layer = layer().clock(clock);
        let breaker = layer.handle();
        let service = layer.http().layer(Probe::new());
        let response = ended(service.oneshot(http::Request::new(Action::Succeed))).unwrap();
        clock_control.advance(time);
        drop(response);
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.results, snapshot.slow), (1, slow));
    }
}

/// A cancelled call does not reset consecutive failures, slow or not.
#[test]
fn a_slow_cancelled_call_does_not_reset_consecutive_failures() {
    let open_when = OpenWhen::any([
        OpenWhen::consecutive_failures(2).unwrap(),
        OpenWhen::slow_rate(1.0, SLOW_AFTER, 10, 10).unwrap(),
    ]);
    let setup = Setup::new(CircuitBreakerLayer::new().open_when(open_when.unwrap()));
    setup.fail(1);
    let call = setup.start(Action::Pend(9));
    setup.clock_control.advance(SLOW_AFTER + NANO);
    drop(call);
    assert_eq!(setup.breaker.snapshot().slow, 1);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// A call that waited for an inner limit did not reach the upstream, however long it took.
#[test]
fn a_rejection_by_an_inner_layer_is_not_slow() {
    let (clock, clock_control) = Clock::manual();
    let layer = layer().clock(clock);
    let breaker = layer.handle();
    let service = layer.layer(service_fn(move |_: ()| {
        clock_control.advance(2 * SLOW_AFTER);
        let rejected = Rejection::new(RejectionReason::RateLimited, "inner");
        async move { Err::<(), _>(BoxError::from(rejected)) }
    }));
    for _ in 0..10 {
        assert!(ended(service.clone().oneshot(())).is_err());
    }
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.results), (State::Closed, 0));
}

#[test]
fn a_failed_call_can_also_be_slow() {
    let open_when = OpenWhen::any([
        OpenWhen::failure_rate(1.0, 10, 10).unwrap(),
        OpenWhen::slow_rate(1.0, SLOW_AFTER, 10, 10).unwrap(),
    ]);
    let setup = Setup::new(CircuitBreakerLayer::new().open_when(open_when.unwrap()));
    let call = setup.start(Action::Fail);
    setup.clock_control.advance(SLOW_AFTER + NANO);
    assert!(ended(call).is_err());
    let snapshot = setup.breaker.snapshot();
    assert_eq!(
        (snapshot.results, snapshot.failures, snapshot.slow),
        (1, 1, 1)
    );
}

#[test]
fn a_slow_probe_has_failed() {
    for cancelled in [false, true] {
        let setup = Setup::new(layer());
        call_lasting(&setup, SLOW_AFTER + NANO);
        call_lasting(&setup, SLOW_AFTER + NANO);
        setup.clock_control.advance(OPEN_FOR);
        let probe = setup.start(Action::Pend(1));
        setup.clock_control.advance(SLOW_AFTER + NANO);
        if cancelled {
            drop(probe);
        } else {
            ended(probe).unwrap();
        }
        assert_eq!(setup.rejected(), Some(OPEN_FOR));
    }
}

/// An ignored call is not slow, unless it was cancelled.
#[test]
fn an_ignored_call_is_not_slow() {
    let setup = Setup::new(layer().count_as(|end| match end.outcome() {
        Outcome::Success => CountAs::Ignored,
        _ => CountAs::of(end),
    }));
    call_lasting(&setup, 2 * SLOW_AFTER);
    assert_eq!(setup.breaker.snapshot().results, 0);
}

/// A clock may step back.
#[test]
fn a_call_that_ends_before_it_started_is_not_slow() {
    let setup = Setup::new(layer());
    let call = setup.start(Action::Succeed);
    setup.clock_control.set(0);
    ended(call).unwrap();
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.results, snapshot.slow), (1, 0));
}

fn hanging() -> CircuitBreakerLayer {
    let slow = SlowCall::longer_than(SLOW_AFTER).while_in_flight();
    CircuitBreakerLayer::new().open_when(OpenWhen::slow_rate(0.5, slow, 10, 2).unwrap())
}

/// Makes a call that is rejected, and returns its retry hint. The call, not `poll_ready`, counts the slow calls in flight.
fn rejected_in_call(setup: &Setup) -> Option<Duration> {
    let error = setup.call(Action::Succeed).unwrap_err();
    error.rejection().expect("a rejection").retry_after()
}

/// Calls that hang do not end for a long time: the next call counts them and finds an open breaker.
#[test]
fn calls_that_hang_open_the_breaker_before_they_end() {
    let setup = Setup::new(hanging());
    let hang: Vec<_> = (0..5).map(|_| setup.start(Action::Pend(9))).collect();
    setup.clock_control.advance(SLOW_AFTER);
    assert_eq!(setup.breaker.snapshot().slow, 0);
    setup.clock_control.advance(SLOW_AFTER / 14 + NANO);
    assert_eq!(rejected_in_call(&setup), Some(OPEN_FOR));
    assert_eq!(setup.breaker.state(), State::Open);
    drop(hang);
    setup.clock_control.advance(OPEN_FOR);
    setup.succeed(1);
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.slow), (State::Closed, 0));
}

/// A call counted in flight is one slow call, and its success or failure counts for the other conditions when it ends.
#[test]
fn a_call_counted_in_flight_counts_once() {
    for (action, failures) in [(Action::Succeed, 0), (Action::Fail, 1)] {
        let slow = SlowCall::longer_than(SLOW_AFTER).while_in_flight();
        let open_when = OpenWhen::any([
            OpenWhen::slow_rate(1.0, slow, 100, 100).unwrap(),
            OpenWhen::failure_rate(1.0, 100, 100).unwrap(),
        ]);
        let setup = Setup::new(CircuitBreakerLayer::new().open_when(open_when.unwrap()));
        let call = setup.start(action);
        for _ in 0..3 {
            setup.clock_control.advance(2 * SLOW_AFTER);
            setup.succeed(1);
        }
        let before = setup.breaker.snapshot();
        assert_eq!((before.slow, before.failures), (1, 0));
        drop(ended(call));
        let after = setup.breaker.snapshot();
        assert_eq!((after.slow, after.failures), (1, failures));
        let other = setup.start(Action::Pend(9));
        drop(other);
        assert_eq!(setup.breaker.snapshot().slow, 1);
    }
}

const WINDOW: Duration = Duration::from_secs(600);

/// So a stream of an hour does not keep a breaker half-open until the probe timeout.
#[test]
fn a_probe_that_hangs_opens_the_breaker_again() {
    let setup = Setup::new(hanging());
    let _hang = [setup.start(Action::Pend(9)), setup.start(Action::Pend(9))];
    setup.clock_control.advance(2 * SLOW_AFTER);
    assert_eq!(rejected_in_call(&setup), Some(OPEN_FOR));
    setup.clock_control.advance(OPEN_FOR);
    let _probe = setup.start(Action::Pend(9));
    assert_eq!(rejected_in_call(&setup), None);
    setup.clock_control.advance(2 * SLOW_AFTER);
    assert_eq!(rejected_in_call(&setup), Some(OPEN_FOR));
}

/// A call that started long after the others is found although the clock jumped by far more than the threshold.
#[test]
fn an_idle_period_of_any_length_loses_no_call_that_hangs() {
    for rest in [1_u32, 15, 16, 17, 1_000, 40_000, 70_000] {
        let setup = Setup::new(hanging());
        let first = setup.start(Action::Pend(9));
        setup.clock_control.advance(rest * SLOW_AFTER / 14);
        let _second = setup.start(Action::Pend(9));
        let slow = u64::from(rest > 14);
        assert_eq!(setup.breaker.snapshot().slow, slow, "{rest}");
        setup.clock_control.advance(2 * SLOW_AFTER);
        assert_eq!(rejected_in_call(&setup), Some(OPEN_FOR), "{rest}");
        drop(first);
    }
}

#[test]
fn many_threads_count_each_call_that_hangs_once() {
    let slow = SlowCall::longer_than(Duration::from_nanos(50)).while_in_flight();
    let open_when = OpenWhen::slow_rate(1.0, slow, WINDOW, u32::MAX).unwrap();
    let (clock, clock_control) = Clock::manual();
    let layer = CircuitBreakerLayer::new().open_when(open_when).clock(clock);
    let breaker = layer.handle();
    let policy = layer.into_policy().get().clone();
    let calls = 5_000;
    // The first result empties the window, with all results that other threads record meanwhile.
    let mut request = ();
    let protocol = Plain::new("test");
    let first = policy.admit(&mut Call::new(&mut request, &protocol));
    policy.finish(first.unwrap(), &CallEnd::new(Outcome::Success));
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let (policy, clock_control) = (&policy, &clock_control);
            scope.spawn(move || {
                let mut open = std::collections::VecDeque::new();
                for call in 0..calls {
                    let mut request = ();
                    let protocol = Plain::new("test");
                    let call_of = &mut Call::new(&mut request, &protocol);
                    open.push_back(policy.admit(call_of).unwrap());
                    clock_control.advance(Duration::from_nanos(call % 7));
                    if open.len() > 3 + thread * 5 {
                        policy.finish(open.pop_front().unwrap(), &CallEnd::new(Outcome::Success));
                    }
                }
                for call_state in open {
                    policy.finish(call_state, &CallEnd::new(Outcome::Success));
                }
            });
        }
    });
    assert_eq!(breaker.snapshot().results, 4 * calls + 1);
}

/// A client reads the body at its own speed.
#[test]
fn a_call_may_be_measured_to_its_head() {
    for while_in_flight in [false, true] {
        for (to_head, slow_reads) in [(false, 2), (true, 0)] {
            let mut slow = SlowCall::longer_than(SLOW_AFTER);
            slow = if to_head { slow.to_head() } else { slow };
            slow = if while_in_flight {
                slow.while_in_flight()
            } else {
                slow
            };
            let (clock, clock_control) = Clock::manual();
            let open_when = OpenWhen::slow_rate(1.0, slow, 10, 10).unwrap();
            let layer = CircuitBreakerLayer::new().open_when(open_when).clock(clock);
            let breaker = layer.handle();
            let service = layer.http().layer(Probe::new());
            let ask =
                || ended(service.clone().oneshot(http::Request::new(Action::Succeed))).unwrap();
            let bodies = [ask(), ask()];
            clock_control.advance(2 * SLOW_AFTER);
            drop(bodies);
            let snapshot = breaker.snapshot();
            assert_eq!((snapshot.results, snapshot.slow), (2, slow_reads));

            let late = service.clone();
            let mut late = std::pin::pin!(late.oneshot(http::Request::new(Action::Pend(1))));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(late.as_mut().poll(&mut cx).is_pending());
            clock_control.advance(2 * SLOW_AFTER);
            drop(ended(late).unwrap());
            assert_eq!(breaker.snapshot().slow, slow_reads + 1, "a late head");
        }
    }
}

/// A plain call, and a call that fails before its head, are measured to their end.
#[test]
fn a_call_without_a_head_is_measured_to_its_end() {
    let slow = SlowCall::longer_than(SLOW_AFTER).to_head();
    let open_when = OpenWhen::slow_rate(1.0, slow, 10, 10).unwrap();
    let setup = Setup::new(CircuitBreakerLayer::new().open_when(open_when));
    call_lasting(&setup, SLOW_AFTER + NANO);
    let call = setup.start(Action::Fail);
    setup.clock_control.advance(SLOW_AFTER + NANO);
    assert!(ended(call).is_err());
    assert_eq!(setup.breaker.snapshot().slow, 2);
}

/// Also by key; and a key with calls that hang is not evicted.
#[test]
fn a_key_with_calls_that_hang_is_not_evicted() {
    let (clock, clock_control) = Clock::manual();
    let by_name = |call: &Call<'_, &'static str>| Some(*call.request);
    let slow = SlowCall::longer_than(SLOW_AFTER).while_in_flight();
    let layer = KeyedCircuitBreakerLayer::new(1, by_name)
        .unwrap()
        .open_when(OpenWhen::slow_rate(1.0, slow, 10, 1).unwrap())
        .when_full(WhenFull::Bypass)
        .clock(clock);
    let handle = layer.handle();
    let policy = layer.into_policy().get().clone();
    let protocol = Plain::new("test");
    let mut requests = ["stock", "price"];
    let [stock, price] = &mut requests;
    let hang = policy.admit(&mut Call::new(stock, &protocol)).unwrap();
    clock_control.advance(2 * SLOW_AFTER);
    for _ in 0..3 {
        let call_state = policy.admit(&mut Call::new(price, &protocol)).unwrap();
        policy.finish(call_state, &CallEnd::new(Outcome::Success));
    }
    assert!(policy.admit(&mut Call::new(stock, &protocol)).is_err());
    assert_eq!(handle.snapshot("stock").unwrap().state, State::Open);
    policy.finish(hang, &CallEnd::new(Outcome::Success));
}
