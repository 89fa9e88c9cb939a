//! The laws of every layer while Redis is unreachable; `src/behaviour.rs` checks them with a store.

use std::time::Duration;

use futures_util::FutureExt;
use tower::{Layer, ServiceExt};
use towerkit_core::LayerExt;
use towerkit_endpoint::RpcExt;
use towerkit_http::HttpExt;
use towerkit_ratelimit::Quota;
use towerkit_ratelimit_redis::{RedisRateLimitLayer, redis::Client};
use towerkit_test::{Action, HttpClient, Probe, Subject, contract, laws, run_paused, tokio_clock};

fn layer() -> RedisRateLimitLayer {
    let missing = Client::open("redis+unix:///nowhere/redis.sock").unwrap();
    let quota = Quota::per_second(1000).unwrap();
    RedisRateLimitLayer::new(missing, quota).unwrap()
}

/// Returns a layer that has found Redis unreachable, in paused time.
fn unreachable_layer() -> RedisRateLimitLayer {
    let layer = layer().clock(tokio_clock());
    let first_call = layer.layer(Probe::new()).oneshot(Action::Succeed);
    assert!(first_call.now_or_never().is_some_and(|ended| ended.is_ok()));
    layer
}

contract!(
    plain,
    PlainClient,
    Subject::new(unreachable_layer().plain("probe"))
);
contract!(rpc, RpcClient, Subject::new(unreachable_layer().rpc()));
contract!(http, HttpClient, Subject::new(unreachable_layer().http()));
contract!(grpc, GrpcClient, Subject::new(unreachable_layer().grpc()));

/// T-01, T-04, T-06, T-08.
#[test]
fn the_laws_hold_while_calls_try_to_connect() {
    run_paused(async {
        laws::calls_come_after_readiness::<HttpClient, _>(Subject::new(layer().http())).await;
        laws::a_panic_releases_all::<HttpClient, _>(|| Subject::new(layer().http())).await;
        laws::waiting_does_not_spin::<HttpClient, _>(|| Subject::new(layer().http())).await;
        laws::errors_pass_unchanged::<HttpClient, _>(|| Subject::new(layer().http())).await;
    });
}

/// T-07
#[test]
fn invalid_settings_are_rejected() {
    let lease = |size, time| layer().lease(size, time).is_err();
    let timeout = |time| layer().timeout(time).is_err();
    let capacity = |keys| layer().capacity(keys).is_err();
    let second = Duration::from_secs(1);
    laws::invalid_settings_are_rejected(&[
        ("lease of 0", &|| lease(0, second)),
        ("lease of 65536", &|| lease(65_536, second)),
        ("lease of MAX", &|| lease(u32::MAX, second)),
        ("lease for 0", &|| lease(1, Duration::ZERO)),
        ("lease for MAX", &|| lease(1, Duration::MAX)),
        ("timeout 0", &|| timeout(Duration::ZERO)),
        ("timeout MAX", &|| timeout(Duration::MAX)),
        ("capacity 0", &|| capacity(0)),
        ("capacity MAX", &|| capacity(usize::MAX)),
        ("a quota that is not exact", &|| {
            let quota = Quota::new(999_999_937, Duration::from_nanos(999_999_999)).unwrap();
            let client = Client::open("redis://127.0.0.1").unwrap();
            RedisRateLimitLayer::new(client, quota.burst(10_000_000).unwrap()).is_err()
        }),
    ]);
}

/// T-07.
#[test]
fn the_largest_and_the_smallest_settings_work() {
    run_paused(async {
        let hour = Duration::from_secs(3600);
        let large = layer().lease(65_535, hour).unwrap();
        let large = large.timeout(hour / 60).unwrap();
        let small = layer().lease(1, Duration::from_nanos(1)).unwrap();
        let small = small.timeout(Duration::from_nanos(1)).unwrap();
        for layer in [large, small] {
            let service = layer.layer(Probe::new());
            for _ in 0..10 {
                assert!(service.clone().oneshot(Action::Succeed).await.is_ok());
            }
        }
    });
}
