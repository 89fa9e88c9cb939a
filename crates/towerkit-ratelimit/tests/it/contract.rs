//! The laws that every layer keeps, for these.

use std::time::Duration;

use towerkit_core::{Call, LayerExt, True};
use towerkit_endpoint::RpcExt;
use towerkit_http::HttpExt;
use towerkit_ratelimit::{
    ByHeader, DelayingRateLimitLayer, KeyedRateLimitLayer, LimitOptions, NoKey, OneToken, Quota,
    RateLimitLayer,
};
use towerkit_test::{Action, Subject, contract, laws, tokio_clock};

fn quota() -> Quota {
    Quota::per_second(1000).unwrap()
}

fn layer() -> RateLimitLayer {
    RateLimitLayer::new(quota())
}

/// A limit that needs the end of its calls.
fn with_end() -> RateLimitLayer<LimitOptions<NoKey, OneToken, True>> {
    layer().cost_at_end(|_| 1).headers("default").unwrap()
}

/// A limit in which calls might wait.
fn delaying() -> Subject<DelayingRateLimitLayer> {
    let layer = DelayingRateLimitLayer::new(quota(), Duration::from_secs(1)).unwrap();
    let layer = layer.clock(tokio_clock());
    let handle = layer.handle();
    Subject::new(layer).count_resources(move || handle.snapshot().waiting as i64)
}

fn over<L: LayerExt, M>(subject: Subject<L>, how: impl FnOnce(L) -> M) -> Subject<M> {
    Subject::new(how(subject.layer))
}

contract!(plain, PlainClient, Subject::new(layer().plain("probe")));
contract!(
    held_back_plain,
    PlainClient,
    Subject::new(layer().backpressure().plain("probe"))
);
contract!(
    held_back_rpc,
    RpcClient,
    Subject::new(layer().backpressure().rpc())
);
contract!(
    held_back_http,
    HttpClient,
    Subject::new(layer().backpressure().http())
);
contract!(rpc, RpcClient, Subject::new(layer().rpc()));
contract!(http, HttpClient, Subject::new(layer().http()));
contract!(grpc, GrpcClient, Subject::new(layer().grpc()));
contract!(
    with_end_plain,
    PlainClient,
    Subject::new(with_end().plain("probe"))
);
contract!(with_end_rpc, RpcClient, Subject::new(with_end().rpc()));
contract!(with_end_http, HttpClient, Subject::new(with_end().http()));
contract!(with_end_grpc, GrpcClient, Subject::new(with_end().grpc()));
contract!(delaying_plain, PlainClient, delaying());
contract!(delaying_rpc, RpcClient, over(delaying(), RpcExt::rpc));
contract!(delaying_http, HttpClient, over(delaying(), HttpExt::http));
contract!(delaying_grpc, GrpcClient, over(delaying(), HttpExt::grpc));
contract!(
    keyed_plain,
    PlainClient,
    Subject::new(KeyedRateLimitLayer::new(quota(), |_: &Call<'_, Action>| Some(7)).plain("probe"))
);
contract!(
    keyed_rpc,
    RpcClient,
    Subject::new(KeyedRateLimitLayer::new(quota(), ByHeader::new("x-api-key")).rpc())
);
contract!(
    keyed_http,
    HttpClient,
    Subject::new(KeyedRateLimitLayer::new(quota(), ByHeader::new("x-api-key")).http())
);
contract!(
    keyed_grpc,
    GrpcClient,
    Subject::new(KeyedRateLimitLayer::new(quota(), ByHeader::new("x-api-key")).grpc())
);

/// T-07
#[test]
fn invalid_settings_are_rejected() {
    let burst = |burst| Quota::per_second(1).and_then(|quota| quota.burst(burst));
    let keyed = || KeyedRateLimitLayer::new(quota(), ByHeader::new("k"));
    let tiers = |count| keyed().tiers(vec![quota(); count], |_: &Call<'_, Action>| 0);
    let delay = |wait| DelayingRateLimitLayer::new(quota(), wait);
    let queue = |calls| delay(Duration::from_secs(1)).unwrap().queue(calls);
    laws::invalid_settings_are_rejected(&[
        ("count 0", &|| Quota::per_second(0).is_err()),
        ("burst 0", &|| burst(0).is_err()),
        ("period 0", &|| Quota::new(1, Duration::ZERO).is_err()),
        ("period MAX", &|| Quota::new(1, Duration::MAX).is_err()),
        ("capacity 0", &|| keyed().capacity(0).is_err()),
        ("capacity MAX", &|| keyed().capacity(usize::MAX).is_err()),
        ("no tiers", &|| tiers(0).is_err()),
        ("16 tiers", &|| tiers(16).is_err()),
        ("no wait", &|| delay(Duration::ZERO).is_err()),
        ("wait MAX", &|| delay(Duration::MAX).is_err()),
        ("queue 0", &|| queue(0).is_err()),
        ("queue MAX", &|| queue(usize::MAX).is_err()),
        ("an empty policy name", &|| layer().headers("").is_err()),
        ("a quote", &|| layer().headers("a\"b").is_err()),
        ("a line", &|| layer().headers("a\r\nb").is_err()),
        ("not ASCII", &|| keyed().headers("ü").is_err()),
    ]);
    assert!(tiers(15).is_ok() && queue(1_000_000).is_ok());
    assert!(keyed().capacity(1).is_ok());
}
