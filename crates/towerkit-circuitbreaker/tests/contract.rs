//! The laws that every layer keeps, for this one.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower::{Layer, ServiceExt};
use towerkit_circuitbreaker::{CircuitBreakerLayer, Trip};
use towerkit_core::{Clock, LayerExt};
use towerkit_http::HttpExt;
use towerkit_test::{Act, PlainCalls, Probe, Subject, contract, laws, run_paused};

fn layer() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new()
}

contract!(plain, PlainCalls, Subject::new(layer().plain("probe")));
contract!(http, HttpCalls, Subject::new(layer().http()));
contract!(grpc, GrpcCalls, Subject::new(layer().grpc()));

/// A breaker that is half-open, with room for more probes than a law makes calls.
fn half_open() -> Subject<CircuitBreakerLayer> {
    let (clock, hand) = Clock::manual();
    let layer = layer()
        .trip(Trip::consecutive_failures(1).unwrap())
        .probes(100)
        .unwrap()
        .clock(clock);
    fail(&layer);
    hand.advance(Duration::from_secs(10));
    let handle = layer.handle();
    Subject::new(layer).held(move || i64::from(handle.snapshot().probes_in_flight))
}

fn fail(layer: &CircuitBreakerLayer) {
    let mut call = pin!(layer.layer(Probe::new()).oneshot(Act::Fail));
    let mut cx = Context::from_waker(Waker::noop());
    let ended = call.as_mut().poll(&mut cx);
    assert!(matches!(ended, Poll::Ready(Err(error)) if error.is_failed()));
}

/// T-01, for probes.
#[test]
fn probes_come_after_readiness() {
    run_paused(laws::calls_come_after_readiness::<PlainCalls, _>(
        half_open(),
    ));
}

/// T-03, CB-02
#[test]
fn a_dropped_probe_releases_its_place() {
    run_paused(laws::a_dropped_call_releases_all::<PlainCalls, _>(
        half_open,
    ));
}

/// T-05, for probes.
#[test]
fn readiness_without_a_call_is_no_probe() {
    run_paused(laws::readiness_without_a_call_is_released::<PlainCalls, _>(
        half_open(),
    ));
}

/// T-07
#[test]
fn nonsense_in_the_configuration_is_refused() {
    let rate = |rate| Trip::failure_rate(rate, 100, 20).is_err();
    let counts = |window, minimum| Trip::failure_rate(0.5, window, minimum).is_err();
    let open_for = |time| layer().open_for(time).is_err();
    laws::nonsense_is_refused(&[
        ("rate 0", &|| rate(0.0) && rate(-0.0)),
        ("rate -1", &|| rate(-1.0)),
        ("rate above 1", &|| rate(1.0 + f64::EPSILON)),
        ("rate NaN", &|| rate(f64::NAN)),
        ("rate ∞", &|| {
            rate(f64::INFINITY) && rate(f64::NEG_INFINITY)
        }),
        ("window 0", &|| counts(0, 0) && counts(0, 1)),
        ("window MAX", &|| counts(u16::MAX, 1) && counts(32_768, 1)),
        ("minimum 0", &|| counts(100, 0)),
        ("minimum above window", &|| {
            counts(100, 101) && counts(1, u32::MAX)
        }),
        ("failures 0", &|| Trip::consecutive_failures(0).is_err()),
        ("probes 0", &|| layer().probes(0).is_err()),
        ("open time 0", &|| open_for(Duration::ZERO)),
        ("open time MAX", &|| open_for(Duration::MAX)),
    ]);
}

/// T-07: what is large but makes sense works.
#[test]
fn the_largest_settings_work() {
    let layer = layer()
        .trip(Trip::failure_rate(f64::MIN_POSITIVE, 32_767, 32_767).unwrap())
        .probes(1023)
        .unwrap()
        .open_for(Duration::from_nanos(u64::MAX))
        .unwrap();
    fail(&layer);
    assert_eq!(layer.handle().snapshot().failures, 1);
    assert!(Trip::consecutive_failures(u32::MAX).is_ok());
}
