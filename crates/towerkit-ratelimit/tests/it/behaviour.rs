//! The behaviour of the limits, in the order of the docs.

mod backpressure;
mod costs;
mod delaying;
mod handles;
mod headers;
mod keyed;
mod live;

use std::time::Duration;

use tower::{Layer, ServiceExt};
use towerkit_core::{CarriesRejection, Clock, LayerExt, Rejection, RejectionReason};
use towerkit_http::HttpExt;
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_test::{Action, Probe};

fn quota() -> Quota {
    Quota::per_second(10).unwrap().burst(2).unwrap()
}

/// GK-RL-1, GK-RL-5
#[tokio::test]
async fn a_rejected_call_never_reaches_the_service() {
    let (clock, _clock_control) = Clock::manual();
    let layer = RateLimitLayer::new(quota()).clock(clock).name("search");
    let probe = Probe::new();
    let counts = probe.counts();
    let service = layer.layer(probe);
    let call = || service.clone().oneshot(Action::Succeed);
    for _ in 0..2 {
        call().await.unwrap();
    }
    let error = call().await.unwrap_err();
    assert_eq!(error.to_string(), "search: rate limited, retry after 100ms");
    assert_eq!(
        error.rejection().map(Rejection::reason),
        Some(RejectionReason::RateLimited)
    );
    assert_eq!(counts.started(), 2);
}

/// RL-19
#[tokio::test]
async fn a_call_after_retry_after_is_admitted_a_thousand_times() {
    let (clock, clock_control) = Clock::manual();
    let layer = RateLimitLayer::new(Quota::new(7, Duration::from_secs(3)).unwrap());
    let service = layer.clock(clock).http().layer(Probe::new());
    let call = || service.clone().oneshot(http::Request::new(Action::Succeed));
    for _ in 0..1000 {
        let rejected = loop {
            let response = call().await.unwrap();
            if response.status() == 429 {
                break response;
            }
        };
        let after = rejected.headers()["retry-after"].to_str().unwrap();
        let seconds: u64 = after.parse().unwrap();
        assert!(seconds >= 1);
        clock_control.advance(Duration::from_secs(seconds));
        assert_eq!(call().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn over_grpc_a_rejection_is_resource_exhausted() {
    let (clock, _clock_control) = Clock::manual();
    let layer = RateLimitLayer::new(quota()).clock(clock);
    let service = layer.grpc().layer(Probe::new());
    let call = || service.clone().oneshot(http::Request::new(Action::Succeed));
    for _ in 0..2 {
        assert!(!call().await.unwrap().headers().contains_key("grpc-status"));
    }
    let rejected = call().await.unwrap();
    assert_eq!(rejected.status(), 200);
    assert_eq!(rejected.headers()["grpc-status"], "8");
    assert_eq!(rejected.headers()["grpc-retry-pushback-ms"], "100");
}

#[tokio::test]
async fn services_of_one_layer_share_the_bucket() {
    let (clock, clock_control) = Clock::manual();
    let layer = RateLimitLayer::new(quota()).clock(clock).plain("probe");
    let handle = layer.handle();
    assert_eq!(handle.snapshot().available, 2);
    layer
        .layer(Probe::new())
        .oneshot(Action::Succeed)
        .await
        .unwrap();
    layer
        .clone()
        .layer(Probe::new())
        .oneshot(Action::Succeed)
        .await
        .unwrap();
    assert_eq!(handle.snapshot().available, 0);
    assert!(
        layer
            .layer(Probe::new())
            .oneshot(Action::Succeed)
            .await
            .is_err()
    );
    clock_control.advance(Duration::from_secs(60));
    assert_eq!(handle.snapshot().available, 2);
    assert_eq!(handle.snapshot().quota, quota());
}
