//! Backpressure under a load balancer: services are not ready while the bucket is empty.

use std::{pin::pin, time::Duration};

use futures_util::{FutureExt, poll};
use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceExt};
use towerkit_core::{Clock, LayerExt, Plain};
use towerkit_ratelimit::{LimitOptions, Quota, RateLimitLayer};
use towerkit_test::{
    Action, BackpressureSubject, PlainClient, Probe, Subject, laws, run_paused, tokio_clock,
};

fn quota(count: u32, burst: u32) -> Quota {
    Quota::per_second(count).unwrap().burst(burst).unwrap()
}

/// Calls empty a slow bucket, so that services are not ready; a quota that fills it within a millisecond makes them ready.
fn held_back() -> BackpressureSubject<RateLimitLayer<LimitOptions, Plain>> {
    let slow = Quota::new(1, Duration::from_secs(3600)).unwrap();
    let slow = slow.burst(100).unwrap();
    let layer = RateLimitLayer::new(slow)
        .clock(tokio_clock())
        .backpressure();
    let layer = layer.plain("probe");
    let [closing, opening] = [layer.handle(), layer.handle()];
    let other = RateLimitLayer::clone(&layer).layer(Probe::new());
    BackpressureSubject::new(
        Subject::new(layer),
        move || {
            closing.set_quota(slow);
            while other
                .clone()
                .oneshot(Action::Succeed)
                .now_or_never()
                .is_some()
            {}
        },
        move || opening.set_quota(quota(1_000_000, 100)),
    )
}

/// T-12
#[test]
fn backpressure_loses_no_wake_up() {
    run_paused(laws::backpressure_loses_no_wake_up::<PlainClient, _>(
        held_back,
    ));
}

#[tokio::test(start_paused = true)]
async fn a_service_is_ready_when_there_is_a_token() {
    let layer = RateLimitLayer::new(quota(10, 2)).clock(tokio_clock());
    let mut service = layer.backpressure().layer(Probe::new());
    let start = Instant::now();
    for _ in 0..7 {
        let ready = ServiceExt::<Action>::ready(&mut service).await.unwrap();
        ready.call(Action::Succeed).await.unwrap();
    }
    // A timer is late by a millisecond at most.
    let late = start.elapsed() - Duration::from_millis(500);
    assert!(late <= Duration::from_millis(5), "{late:?}");
}

/// Of several services that are ready for one token, one takes it.
#[tokio::test(start_paused = true)]
async fn readiness_reserves_nothing() {
    let layer = RateLimitLayer::new(quota(10, 1)).clock(tokio_clock());
    let layer = layer.backpressure();
    let [mut one, mut other] = [0; 2].map(|_| layer.layer(Probe::new()));
    for service in [&mut one, &mut other] {
        let ready = ServiceExt::<Action>::ready(service).now_or_never();
        assert!(ready.is_some_and(|ready| ready.is_ok()));
    }
    assert!(one.call(Action::Succeed).await.is_ok() && other.call(Action::Succeed).await.is_err());
}

/// The timer fires by the time of tokio while the clock of the limit stands still: no call is admitted, and no task spins.
#[tokio::test(start_paused = true)]
async fn a_clock_that_stands_still_admits_no_call() {
    let (clock, clock_control) = Clock::manual();
    let layer = RateLimitLayer::new(quota(10, 1))
        .clock(clock)
        .backpressure();
    let service = layer.layer(Probe::new());
    service.clone().oneshot(Action::Succeed).await.unwrap();
    let mut call = pin!(service.clone().oneshot(Action::Succeed));
    for _ in 0..10 {
        assert!(poll!(call.as_mut()).is_pending());
        advance(Duration::from_millis(101)).await;
    }
    clock_control.advance(Duration::from_millis(100));
    call.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_faster_quota_wakes_services_at_once() {
    let hour = Quota::new(1, Duration::from_secs(3600)).unwrap();
    let layer = RateLimitLayer::new(hour)
        .clock(tokio_clock())
        .backpressure();
    let (handle, service) = (layer.handle(), layer.layer(Probe::new()));
    service.clone().oneshot(Action::Succeed).await.unwrap();
    let start = Instant::now();
    let mut call = pin!(service.oneshot(Action::Succeed));
    assert!(poll!(call.as_mut()).is_pending());
    handle.set_quota(quota(10, 1));
    call.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
}
