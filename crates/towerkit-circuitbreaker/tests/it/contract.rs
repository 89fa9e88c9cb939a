//! The laws that every layer keeps, applied to this layer.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower::{Layer, ServiceExt};
use towerkit_circuitbreaker::{
    CircuitBreakerLayer, KeyedCircuitBreakerLayer, OpenDuration, OpenWhen,
};
use towerkit_core::{Call, Clock, LayerExt};
use towerkit_endpoint::RpcExt;
use towerkit_http::HttpExt;
use towerkit_test::{Action, PlainClient, Probe, Subject, contract, laws, run_paused};

fn layer() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new()
}

contract!(plain, PlainClient, Subject::new(layer().plain("probe")));
contract!(rpc, RpcClient, Subject::new(layer().rpc()));
contract!(http, HttpClient, Subject::new(layer().http()));
contract!(grpc, GrpcClient, Subject::new(layer().grpc()));

/// A breaker that times its calls and counts them in time windows.
fn timing() -> CircuitBreakerLayer {
    let minute = Duration::from_secs(60);
    let slow = OpenWhen::slow_rate(0.5, minute, minute, 20).unwrap();
    let failed = OpenWhen::failure_rate(0.5, minute, 20).unwrap();
    layer().open_when(OpenWhen::any([slow, failed]).unwrap())
}

contract!(
    timing_plain,
    PlainClient,
    Subject::new(timing().plain("probe"))
);
contract!(timing_rpc, RpcClient, Subject::new(timing().rpc()));
contract!(timing_http, HttpClient, Subject::new(timing().http()));
contract!(timing_grpc, GrpcClient, Subject::new(timing().grpc()));

type SingleKey<Req> = fn(&Call<'_, Req>) -> Option<()>;

/// Breakers by key, with a single key.
fn keyed<Req>() -> KeyedCircuitBreakerLayer<SingleKey<Req>> {
    let key: SingleKey<Req> = |_| Some(());
    KeyedCircuitBreakerLayer::new(4, key).unwrap()
}

contract!(
    keyed_plain,
    PlainClient,
    Subject::new(keyed().plain("probe"))
);
contract!(keyed_rpc, RpcClient, Subject::new(keyed().rpc()));
contract!(keyed_http, HttpClient, Subject::new(keyed().http()));
contract!(keyed_grpc, GrpcClient, Subject::new(keyed().grpc()));

/// A half-open breaker that admits more probes than a law makes calls.
fn half_open() -> Subject<CircuitBreakerLayer> {
    let (clock, clock_control) = Clock::manual();
    let layer = layer()
        .open_when(OpenWhen::consecutive_failures(1).unwrap())
        .probes(100)
        .unwrap()
        .clock(clock);
    fail(&layer);
    clock_control.advance(Duration::from_secs(10));
    let handle = layer.handle();
    Subject::new(layer).count_resources(move || i64::from(handle.snapshot().probes_in_flight))
}

fn fail(layer: &CircuitBreakerLayer) {
    let mut call = pin!(layer.layer(Probe::new()).oneshot(Action::Fail));
    let mut cx = Context::from_waker(Waker::noop());
    let ended = call.as_mut().poll(&mut cx);
    assert!(matches!(ended, Poll::Ready(Err(error)) if error.is_failed()));
}

/// T-01, for probes.
#[test]
fn probes_come_after_readiness() {
    run_paused(laws::calls_come_after_readiness::<PlainClient, _>(
        half_open(),
    ));
}

/// T-03, CB-02
#[test]
fn a_dropped_probe_releases_its_slot() {
    run_paused(laws::a_dropped_call_releases_all::<PlainClient, _>(
        half_open,
    ));
}

/// T-05, for probes.
#[test]
fn readiness_without_a_call_takes_no_probe() {
    run_paused(laws::readiness_without_a_call_is_released::<PlainClient, _>(half_open()));
}

/// T-07
#[test]
fn invalid_conditions_are_rejected() {
    let second = Duration::from_secs(1);
    let rate = |rate| {
        let failures = [
            OpenWhen::failure_rate(rate, 100, 20),
            OpenWhen::failure_rate(rate, second, 20),
        ];
        let slow = OpenWhen::slow_rate(rate, second, 100, 20);
        failures.iter().chain([&slow]).all(Result::is_err)
    };
    let counts = |window: u16, minimum| {
        let slow = OpenWhen::slow_rate(0.5, second, window, minimum).is_err();
        slow && OpenWhen::failure_rate(0.5, window, minimum).is_err()
    };
    let window = |window: Duration| {
        let slow = OpenWhen::slow_rate(0.5, second, window, 1).is_err();
        slow && OpenWhen::failure_rate(0.5, window, 1).is_err()
    };
    let slow_after = |after| OpenWhen::slow_rate(0.5, after, 100, 20).is_err();
    let twice = |one: OpenWhen, other: OpenWhen| OpenWhen::any([one, other]).is_err();
    let slow = |after| OpenWhen::slow_rate(0.5, after, 10, 1).unwrap();
    let slow_in_time = |after| OpenWhen::slow_rate(0.5, after, second, 1).unwrap();
    laws::invalid_settings_are_rejected(&[
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
        ("time 0", &|| {
            window(Duration::ZERO) && window(Duration::from_nanos(19))
        }),
        ("time MAX", &|| window(Duration::MAX)),
        ("slow threshold 0", &|| slow_after(Duration::ZERO)),
        ("slow threshold MAX", &|| slow_after(Duration::MAX)),
        ("failures 0", &|| OpenWhen::consecutive_failures(0).is_err()),
        ("no condition", &|| OpenWhen::any([]).is_err()),
        ("one kind twice", &|| {
            twice(OpenWhen::default(), OpenWhen::default())
        }),
        ("two thresholds", &|| {
            twice(slow(second), slow_in_time(2 * second))
        }),
    ]);
    assert!(OpenWhen::any([slow(second), slow_in_time(second)]).is_ok());
}

/// T-07
#[test]
fn invalid_options_are_rejected() {
    let second = Duration::from_secs(1);
    let open_for = |time| layer().open_for(time).is_err() && OpenDuration::new(time).is_err();
    let time = OpenDuration::new(second).unwrap();
    let growth = |factor| time.backoff(factor, 2 * second).is_err();
    let longest = |longest| time.backoff(2.0, longest).is_err();
    let jitter = |share| time.jitter(share).is_err();
    let timeout = |time| layer().probe_timeout(time).is_err();
    let capacity = |capacity| {
        let key = |_: &Call<'_, ()>| None::<()>;
        KeyedCircuitBreakerLayer::new(capacity, key).is_err()
    };
    laws::invalid_settings_are_rejected(&[
        ("probes 0", &|| layer().probes(0).is_err()),
        ("probes MAX", &|| {
            layer().probes(u16::MAX).is_err() && layer().probes(1024).is_err()
        }),
        ("open time 0", &|| open_for(Duration::ZERO)),
        ("open time MAX", &|| open_for(Duration::MAX)),
        ("growth 0", &|| growth(0.0) && growth(-1.0)),
        ("growth below 1", &|| growth(0.999)),
        ("growth NaN", &|| growth(f64::NAN)),
        ("growth ∞", &|| growth(f64::INFINITY)),
        ("longest time 0", &|| longest(Duration::ZERO)),
        ("longest time below the first", &|| longest(second / 2)),
        ("longest time MAX", &|| longest(Duration::MAX)),
        ("jitter -1", &|| jitter(-1.0)),
        ("jitter above 1", &|| jitter(1.0 + f64::EPSILON)),
        ("jitter NaN", &|| jitter(f64::NAN)),
        ("probe timeout 0", &|| timeout(Duration::ZERO)),
        ("probe timeout MAX", &|| timeout(Duration::MAX)),
        ("capacity 0", &|| capacity(0)),
        ("capacity MAX", &|| capacity(usize::MAX)),
    ]);
}

/// T-07: the largest valid settings work.
#[test]
fn the_largest_settings_work() {
    let layer = layer()
        .open_when(OpenWhen::failure_rate(f64::MIN_POSITIVE, 32_767, 32_767).unwrap())
        .probes(1023)
        .unwrap()
        .open_for(Duration::from_nanos(u64::MAX))
        .unwrap();
    fail(&layer);
    assert_eq!(layer.handle().snapshot().failures, 1);
    assert!(OpenWhen::consecutive_failures(u32::MAX).is_ok());
}
