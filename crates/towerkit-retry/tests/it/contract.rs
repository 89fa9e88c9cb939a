//! The laws that every layer keeps, for this one.

use std::time::Duration;

use towerkit_core::LayerExt;
use towerkit_endpoint::RpcExt;
use towerkit_http::HttpExt;
use towerkit_retry::{Budget, RetryLayer};
use towerkit_test::{Subject, contract, laws, run_paused};

contract!(
    plain,
    PlainClient,
    Subject::new(RetryLayer::new().plain("probe").idempotent())
);
contract!(
    plain_tried_once,
    PlainClient,
    Subject::new(RetryLayer::new().plain("probe"))
);
contract!(
    rpc,
    RpcClient,
    Subject::new(RetryLayer::new().rpc().idempotent())
);
contract!(
    rpc_tried_once,
    RpcClient,
    Subject::new(RetryLayer::new().rpc())
);
contract!(http, HttpClient, Subject::new(RetryLayer::new().http()));
contract!(
    grpc,
    GrpcClient,
    Subject::new(RetryLayer::new().grpc().idempotent())
);

/// T-02
#[test]
fn each_attempt_has_its_own_readiness() {
    use laws::each_attempt_has_its_own_readiness as law;
    use towerkit_test::{GrpcClient, HttpClient, PlainClient, RpcClient};
    let layer = || RetryLayer::new().idempotent();
    run_paused(async {
        law::<PlainClient, _>(|| Subject::new(layer().plain("probe"))).await;
        law::<RpcClient, _>(|| Subject::new(layer().rpc())).await;
        law::<HttpClient, _>(|| Subject::new(layer().http())).await;
        law::<GrpcClient, _>(|| Subject::new(layer().grpc())).await;
    });
}

/// T-07
#[test]
fn invalid_settings_are_rejected() {
    let second = Duration::from_secs(1);
    let layer = RetryLayer::new;
    let handle = || layer().handle();
    laws::invalid_settings_are_rejected(&[
        ("0 attempts", &|| layer().attempts(0).is_err()),
        ("no pause", &|| {
            layer().backoff(Duration::ZERO, second).is_err()
        }),
        ("cap below base", &|| {
            layer().backoff(second, second / 2).is_err()
        }),
        ("backoff MAX", &|| {
            layer().backoff(second, Duration::MAX).is_err()
        }),
        ("pushback MAX", &|| {
            layer().max_pushback(Duration::MAX).is_err()
        }),
        ("change to 0 attempts", &|| {
            handle().set_attempts(0).is_err()
        }),
        ("change to no pause", &|| {
            handle().set_backoff(Duration::ZERO, second).is_err()
        }),
        ("ratio NaN", &|| Budget::new(f64::NAN, 10).is_err()),
        ("ratio -1", &|| Budget::new(-1.0, 10).is_err()),
        ("ratio infinite", &|| {
            Budget::new(f64::INFINITY, 10).is_err()
        }),
        ("ratio MAX", &|| Budget::new(f64::MAX, 10).is_err()),
        ("nothing", &|| Budget::new(0.0, 0).is_err()),
    ]);
}
