//! Slow calls.

use std::time::Duration;

use tower::{Layer, ServiceExt, service_fn};
use towerkit_circuitbreaker::{CircuitBreakerLayer, State, Trip, Verdict};
use towerkit_core::{BoxError, Clock, Outcome, Reason, Rejection};
use towerkit_http::HttpExt;
use towerkit_test::{Act, Probe};

use super::setup::{OPEN_FOR, Setup, ended};

const SLOW_AFTER: Duration = Duration::from_secs(2);
const NANO: Duration = Duration::from_nanos(1);

fn layer() -> CircuitBreakerLayer {
    let trip = Trip::slow_rate(0.5, SLOW_AFTER, 10, 2).unwrap();
    CircuitBreakerLayer::new().trip(trip)
}

/// Makes a call that ends after so long.
fn take(setup: &Setup, time: Duration) {
    let call = setup.start(Act::Succeed);
    setup.hand.advance(time);
    ended(call).unwrap();
}

#[test]
fn calls_that_run_longer_than_they_may_open_the_breaker() {
    let setup = Setup::new(layer());
    take(&setup, SLOW_AFTER);
    take(&setup, SLOW_AFTER);
    assert_eq!(setup.breaker.snapshot().slow, 0);
    take(&setup, SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.snapshot().slow, 1);
    assert_eq!(setup.breaker.state(), State::Closed);
    take(&setup, SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// The same over a window of time, in which they are forgotten.
#[test]
fn slow_calls_leave_a_window_of_time() {
    let window = Duration::from_secs(60);
    let trip = Trip::slow_rate(0.5, SLOW_AFTER, window, 2).unwrap();
    let setup = Setup::new(CircuitBreakerLayer::new().trip(trip));
    take(&setup, SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.snapshot().slow, 1);
    setup.hand.advance(window);
    assert_eq!(setup.breaker.snapshot().slow, 0);
    take(&setup, SLOW_AFTER + NANO);
    take(&setup, SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// A time-out outside of the breaker cancels slow calls: they still tell.
#[test]
fn a_call_that_is_cancelled_late_was_slow_and_one_that_is_cancelled_early_counts_for_nothing() {
    let setup = Setup::new(layer());
    let cancelled_after = |time| {
        let call = setup.start(Act::Pend(9));
        setup.hand.advance(time);
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

/// A call that is cancelled after a good head is a success, and a slow one if it ran too long.
#[test]
fn a_call_that_is_cancelled_after_its_head_counts_for_it() {
    for (time, slow) in [(SLOW_AFTER, 0), (SLOW_AFTER + NANO, 1)] {
        let (clock, hand) = Clock::manual();
        let layer = layer().clock(clock);
        let breaker = layer.handle();
        let service = layer.http().layer(Probe::new());
        let response = ended(service.oneshot(http::Request::new(Act::Succeed))).unwrap();
        hand.advance(time);
        drop(response);
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.results, snapshot.slow), (1, slow));
    }
}

/// A cancelled call does not end a row of failures, slow or not.
#[test]
fn a_slow_cancelled_call_leaves_a_row_of_failures_as_it_is() {
    let trip = Trip::any([
        Trip::consecutive_failures(2).unwrap(),
        Trip::slow_rate(1.0, SLOW_AFTER, 10, 10).unwrap(),
    ]);
    let setup = Setup::new(CircuitBreakerLayer::new().trip(trip.unwrap()));
    setup.fail(1);
    let call = setup.start(Act::Pend(9));
    setup.hand.advance(SLOW_AFTER + NANO);
    drop(call);
    assert_eq!(setup.breaker.snapshot().slow, 1);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// A call that waited for a limiter further in never reached the callee, however long it took.
#[test]
fn a_refusal_further_in_was_not_slow() {
    let (clock, hand) = Clock::manual();
    let layer = layer().clock(clock);
    let breaker = layer.handle();
    let service = layer.layer(service_fn(move |_: ()| {
        hand.advance(2 * SLOW_AFTER);
        let refused = Rejection::new(Reason::RateLimited, "inner");
        async move { Err::<(), _>(BoxError::from(refused)) }
    }));
    for _ in 0..10 {
        assert!(ended(service.clone().oneshot(())).is_err());
    }
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.results), (State::Closed, 0));
}

#[test]
fn a_failed_call_is_slow_as_well_if_it_took_too_long() {
    let trip = Trip::any([
        Trip::failure_rate(1.0, 10, 10).unwrap(),
        Trip::slow_rate(1.0, SLOW_AFTER, 10, 10).unwrap(),
    ]);
    let setup = Setup::new(CircuitBreakerLayer::new().trip(trip.unwrap()));
    let call = setup.start(Act::Fail);
    setup.hand.advance(SLOW_AFTER + NANO);
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
        take(&setup, SLOW_AFTER + NANO);
        take(&setup, SLOW_AFTER + NANO);
        setup.hand.advance(OPEN_FOR);
        let probe = setup.start(Act::Pend(1));
        setup.hand.advance(SLOW_AFTER + NANO);
        if cancelled {
            drop(probe);
        } else {
            ended(probe).unwrap();
        }
        assert_eq!(setup.refused(), Some(OPEN_FOR));
    }
}

/// What a verdict ignores was not slow, unless it was cancelled.
#[test]
fn a_verdict_can_ignore_what_was_slow() {
    let setup = Setup::new(layer().verdict(|end| match end.outcome() {
        Outcome::Success => Verdict::Ignored,
        _ => Verdict::of(end),
    }));
    take(&setup, 2 * SLOW_AFTER);
    assert_eq!(setup.breaker.snapshot().results, 0);
}

/// A clock may step back.
#[test]
fn a_call_that_ends_before_it_started_was_not_slow() {
    let setup = Setup::new(layer());
    let call = setup.start(Act::Succeed);
    setup.hand.set(0);
    ended(call).unwrap();
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.results, snapshot.slow), (1, 0));
}
