//! How calls count.

use tower::{Layer, ServiceExt, service_fn};
use towerkit_circuitbreaker::{CountAs, State};
use towerkit_core::{BoxError, CarriesRejection, Clock, LayerExt, Outcome, Plain};
use towerkit_http::HttpExt;
use towerkit_test::{Action, Probe, ProbeError};

use super::setup::{OPEN_FOR, Setup, consecutive, ended, panics};

/// CB-06, GK-BR-4
#[test]
fn a_panic_is_one_failure_and_continues() {
    for action in [Action::PanicInCall, Action::PanicInFuture] {
        let setup = Setup::consecutive();
        assert!(panics(|| drop(setup.call(action))));
        assert_eq!(setup.breaker.snapshot().failures, 1);
        setup.succeed(1);

        let setup = Setup::half_open(2);
        assert!(panics(|| drop(setup.call(action))));
        assert_eq!(setup.rejected(), Some(OPEN_FOR));
    }
}

/// CB-10: the tests of [`CountAs::of`] have the other cases.
#[test]
fn a_cancelled_call_does_not_count() {
    let setup = Setup::consecutive();
    for _ in 0..10 {
        drop(setup.start(Action::Pend(1)));
    }
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.failures), (State::Closed, 0));
}

/// CB-10: the outer breaker ignores rejections by the inner one, also for its probes.
#[test]
fn a_rejection_by_an_inner_layer_does_not_count() {
    let (clock, clock_control) = Clock::manual();
    let inner = consecutive().clock(clock.clone());
    let outer = consecutive().clock(clock);
    let (inside, outside) = (inner.handle(), outer.handle());
    let service = outer.layer(inner.layer(service_fn(|action| async move {
        match action {
            Action::Fail => Err(BoxError::from("failed")),
            action => Ok(action),
        }
    })));
    let call = |action| ended(service.clone().oneshot(action));
    inside.force_open();
    for _ in 0..10 {
        assert!(call(Action::Succeed).unwrap_err().rejection().is_some());
    }
    assert_eq!(outside.state(), State::Closed);
    assert_eq!(outside.snapshot().failures, 0);

    inside.release();
    let _ = (call(Action::Fail), call(Action::Fail));
    assert_eq!(
        (outside.state(), inside.state()),
        (State::Open, State::Open)
    );
    inside.force_open();
    clock_control.advance(OPEN_FOR);
    assert!(call(Action::Succeed).is_err());
    assert_eq!(outside.state(), State::HalfOpen);
    assert_eq!(outside.snapshot().probes_in_flight, 0);
    inside.release();
    call(Action::Succeed).unwrap();
    assert_eq!(outside.state(), State::Closed);
}

/// CB-10
#[test]
fn a_custom_function_decides_how_calls_count() {
    let layer = consecutive().count_as(|end| match end.outcome() {
        Outcome::Cancelled => CountAs::Failure,
        Outcome::Failure => CountAs::Ignored,
        _ => CountAs::of(end),
    });
    let setup = Setup::new(layer);
    setup.fail(10);
    drop(setup.start(Action::Pend(1)));
    assert_eq!(setup.breaker.snapshot().failures, 1);
    setup.succeed(1);
    assert_eq!(setup.breaker.snapshot().failures, 0);
    assert!(panics(|| drop(setup.call(Action::PanicInFuture))));
    assert_eq!(setup.breaker.snapshot().failures, 1);
}

/// A second panic while the first one unwinds through a call would abort the process.
#[test]
fn a_custom_function_that_panics_is_ignored() {
    let setup = Setup::new(consecutive().count_as(|_| panic!("no verdict")));
    setup.fail(1);
    assert_eq!(setup.breaker.snapshot().failures, 1);
    assert!(panics(|| {
        let _call = setup.start(Action::Pend(1));
        panic!("around the call");
    }));
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

#[test]
fn a_business_failure_counts_if_configured() {
    let layer = consecutive();
    let breaker = layer.handle();
    let protocol =
        Plain::new("probe").classify(|result: &Result<Action, ProbeError>| match result {
            Ok(Action::Pend(_)) => Outcome::Failure,
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::ClientError,
        });
    let service = layer.protocol(protocol).layer(Probe::new());
    for _ in 0..10 {
        let _ = ended(service.clone().oneshot(Action::Fail));
    }
    assert_eq!(breaker.state(), State::Closed);
    for _ in 0..2 {
        ended(service.clone().oneshot(Action::Pend(1))).unwrap();
    }
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn over_http_a_rejection_is_503_and_over_grpc_unavailable() {
    let (clock, _hand) = Clock::manual();
    let layer = consecutive().clock(clock);
    let request = || http::Request::new(Action::Succeed);
    let _ = (
        ended(layer.layer(Probe::new()).oneshot(Action::Fail)),
        ended(layer.layer(Probe::new()).oneshot(Action::Fail)),
    );
    let rejected = ended(layer.clone().http().layer(Probe::new()).oneshot(request())).unwrap();
    assert_eq!(rejected.status(), 503);
    assert_eq!(rejected.headers()["retry-after"], "10");
    let rejected = ended(layer.grpc().layer(Probe::new()).oneshot(request())).unwrap();
    assert_eq!(rejected.headers()["grpc-status"], "14");
}

/// CB-10
#[test]
fn over_http_a_server_error_counts_and_a_client_error_does_not() {
    let layer = consecutive();
    let breaker = layer.handle();
    let service = layer
        .http()
        .layer(service_fn(|request: http::Request<u16>| async move {
            let response = http::Response::builder().status(*request.body());
            response.body(String::new())
        }));
    let call = |status| ended(service.clone().oneshot(http::Request::new(status))).unwrap();
    for status in [400, 404, 408, 429, 499] {
        for _ in 0..3 {
            assert_eq!(call(status).status(), status);
        }
        assert_eq!(breaker.snapshot().failures, 0, "{status}");
    }
    call(500);
    call(504);
    assert_eq!(breaker.state(), State::Open);
}

/// CB-10: over HTTP a probe ends with its body; if the body is dropped after a successful head, the probe has succeeded.
#[test]
fn over_http_a_probe_ends_with_its_body() {
    let (clock, clock_control) = Clock::manual();
    let layer = consecutive().clock(clock);
    let breaker = layer.handle();
    let service = layer.http().layer(Probe::new());
    let call = |action| ended(service.clone().oneshot(http::Request::new(action)));
    assert!(call(Action::Fail).is_err() && call(Action::Fail).is_err());
    clock_control.advance(OPEN_FOR);
    let response = call(Action::Succeed).unwrap();
    assert_eq!(breaker.snapshot().probes_in_flight, 1);
    drop(response);
    assert_eq!(breaker.state(), State::Closed);
}
