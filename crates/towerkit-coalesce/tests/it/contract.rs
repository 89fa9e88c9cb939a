//! The laws that every layer keeps, for this one: for calls that lead, and for calls that pass by.

use towerkit_coalesce::CoalesceLayer;
use towerkit_core::{KeyFn, LayerExt};
use towerkit_endpoint::{Request, RpcExt};
use towerkit_http::HttpExt;
use towerkit_test::{Action, HttpRequest, Subject, contract, laws};

/// Makes a layer with a key for each [`Action`], so that every call of a law reaches the probe.
fn layer<Req>(
    act: impl Fn(&Req) -> Action + Clone,
) -> CoalesceLayer<KeyFn<impl Fn(&Req) -> Option<String> + Clone, String>> {
    CoalesceLayer::new(move |request: &Req| Some(format!("{:?}", act(request))))
}

fn plain_layer() -> CoalesceLayer<KeyFn<impl Fn(&Action) -> Option<String> + Clone, String>> {
    layer(|act| *act)
}

type EndpointRequest = Request<Action>;

fn rpc_layer() -> CoalesceLayer<KeyFn<impl Fn(&EndpointRequest) -> Option<String> + Clone, String>>
{
    layer(|request: &EndpointRequest| request.message)
}

fn http_layer() -> CoalesceLayer<KeyFn<impl Fn(&HttpRequest) -> Option<String> + Clone, String>> {
    layer(|request: &HttpRequest| *request.extensions().get().expect("each request has an act"))
}

macro_rules! keyed {
    ($new:ident, |$layer:ident| $read:expr) => {{
        let $layer = $new();
        let handle = $layer.handle();
        let in_flight = move || i64::try_from(handle.snapshot().in_flight).unwrap();
        Subject::new($read).count_resources(in_flight)
    }};
}

contract!(
    plain,
    PlainClient,
    keyed!(plain_layer, |layer| layer.plain("probe"))
);
contract!(rpc, RpcClient, keyed!(rpc_layer, |layer| layer.rpc()));
contract!(http, HttpClient, keyed!(http_layer, |layer| layer.http()));
contract!(grpc, GrpcClient, keyed!(http_layer, |layer| layer.grpc()));
contract!(
    passing_by,
    PlainClient,
    Subject::new(CoalesceLayer::new(|_: &Action| None::<u8>).plain("probe"))
);
contract!(
    passing_by_over_rpc,
    RpcClient,
    Subject::new(CoalesceLayer::new(|_: &Request<Action>| None::<u8>).rpc())
);
contract!(
    passing_by_over_http,
    HttpClient,
    Subject::new(CoalesceLayer::new(|_: &HttpRequest| None::<u8>).http())
);

/// T-07
#[test]
fn invalid_settings_are_rejected() {
    laws::invalid_settings_are_rejected(&[
        ("0 waits", &|| plain_layer().max_waits(0).is_err()),
        ("101 waits", &|| plain_layer().max_waits(101).is_err()),
        ("MAX waits", &|| {
            plain_layer().max_waits(usize::MAX).is_err()
        }),
        ("a body of 0", &|| plain_layer().max_body(0).is_err()),
        ("a body of MAX", &|| {
            plain_layer().max_body(usize::MAX).is_err()
        }),
    ]);
    let error = plain_layer().max_waits(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid max_waits 0: expected a number from 1 to 100"
    );
}
