//! The laws of every layer, for calls that fetch a response and for calls that bypass the cache.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use towerkit_cache::{CacheLayer, Capacity, Lifetime};
use towerkit_core::{KeyFn, LayerExt};
use towerkit_endpoint::{Request, RpcExt};
use towerkit_http::HttpExt;
use towerkit_test::{Action, HttpRequest, Subject, contract, laws};

fn lifetime() -> Lifetime {
    Lifetime::new(Duration::from_secs(60)).unwrap()
}

fn capacity() -> Capacity {
    Capacity::entries(100).unwrap()
}

type Keys<Req> = KeyFn<fn(&Req) -> Option<u64>, u64>;

/// Every call has another key, so that all calls of a law reach the probe.
fn layer<Req>() -> CacheLayer<KeyFn<impl Fn(&Req) -> Option<u64> + Clone, u64>> {
    let calls = Arc::new(AtomicU64::new(0));
    let key = move |_: &Req| Some(calls.fetch_add(1, Ordering::Relaxed));
    CacheLayer::new(lifetime(), capacity(), key)
}

fn bypassing_layer<Req>() -> CacheLayer<Keys<Req>> {
    CacheLayer::new(lifetime(), capacity(), |_| None)
}

contract!(
    plain,
    PlainClient,
    Subject::new(layer::<Action>().plain("probe"))
);
contract!(
    rpc,
    RpcClient,
    Subject::new(layer::<Request<Action>>().rpc())
);
contract!(
    http,
    HttpClient,
    Subject::new(layer::<HttpRequest>().http())
);
contract!(
    grpc,
    GrpcClient,
    Subject::new(layer::<HttpRequest>().grpc())
);
contract!(
    bypassing,
    PlainClient,
    Subject::new(bypassing_layer::<Action>().plain("probe"))
);
contract!(
    bypassing_over_rpc,
    RpcClient,
    Subject::new(bypassing_layer::<Request<Action>>().rpc())
);
contract!(
    bypassing_over_http,
    HttpClient,
    Subject::new(bypassing_layer::<HttpRequest>().http())
);

/// T-07
#[test]
fn invalid_settings_are_rejected() {
    let max = Duration::MAX;
    laws::invalid_settings_are_rejected(&[
        ("a ttl of 0", &|| Lifetime::new(Duration::ZERO).is_err()),
        ("a ttl of MAX", &|| Lifetime::new(max).is_err()),
        ("a window of MAX", &|| {
            lifetime().stale_while_revalidate(max).is_err()
        }),
        ("an error window of MAX", &|| {
            lifetime().stale_if_error(max).is_err()
        }),
        ("0 entries", &|| Capacity::entries(0).is_err()),
        ("MAX entries", &|| Capacity::entries(u64::MAX).is_err()),
        ("0 bytes", &|| Capacity::bytes(0).is_err()),
        ("MAX bytes", &|| Capacity::bytes(u64::MAX).is_err()),
        ("a body of 0", &|| layer::<Action>().max_body(0).is_err()),
        ("a body of MAX", &|| {
            layer::<Action>().max_body(usize::MAX).is_err()
        }),
    ]);
}

#[test]
fn an_error_names_the_setting_and_its_range() {
    let table = [
        (
            Lifetime::new(Duration::ZERO).unwrap_err(),
            "invalid ttl 0ns: expected a time from 1 ns to 365 days",
        ),
        (
            Capacity::entries(0).unwrap_err(),
            "invalid entries 0: expected a number from 1 to 4294967296",
        ),
    ];
    for (error, message) in table {
        assert_eq!(error.to_string(), message);
    }
}
