use std::convert::Infallible;

use axum::{
    Router,
    routing::{post, post_service},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use tower::{BoxError, ServiceBuilder};
use towerkit_core::LayerExt;
use towerkit_endpoint::{Request as EndpointRequest, RpcError, RpcExt, endpoint_fn};
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_transport_http::{Json, serve};

use crate::{Clocked, HttpRequest, Label, Visit};

/// The request of an endpoint, and the same limit around it by either protocol.
pub(super) fn plain(visit: &mut impl Visit) {
    visit.group("an endpoint, plain, ready at once".to_owned());
    let echo = |(), n: u64| std::future::ready(Ok::<_, BoxError>(n));
    let request = |n: u64| EndpointRequest::new("echo", n);
    let message = |n: u64| std::future::ready(Ok::<_, BoxError>(n));
    let limit = || RateLimitLayer::new(Quota::per_second(1_000_000_000).expect("a rate"));
    visit.plain(Label::bare(), tower::service_fn(message));
    let endpoint = ServiceBuilder::new()
        .map_request(request)
        .service(endpoint_fn((), echo));
    visit.plain(Label::ours("its request", Clocked::No), endpoint);
    let limited = ServiceBuilder::new()
        .map_request(request)
        .layer(limit().plain("echo"))
        .service(endpoint_fn((), echo));
    visit.plain(
        Label::ours("with a limit by .plain(..)", Clocked::Standard),
        limited,
    );
    let limited = ServiceBuilder::new()
        .map_request(request)
        .layer(limit().rpc())
        .service(endpoint_fn((), echo));
    visit.plain(
        Label::ours("with a limit by .rpc()", Clocked::Standard),
        limited,
    );
}

#[derive(Serialize, Deserialize)]
struct Pair {
    a: i64,
    b: i64,
}

/// A handler that reads and writes a small JSON object.
pub(super) fn json(visit: &mut impl Visit) {
    visit.group("JSON handler, HTTP, ready at once".to_owned());
    let sum = |(), Pair { a, b }| std::future::ready(Ok::<_, RpcError>(Pair { a: a + b, b }));
    let handler = move || serve("sum", Json, endpoint_fn((), sum));
    let alone = ServiceBuilder::new()
        .map_request(post_json)
        .service(handler());
    visit.http(Label::ours("towerkit", Clocked::No), alone);
    let app = Router::new().route("/", post_service(handler()));
    visit.http(
        Label::ours("towerkit in a router of axum", Clocked::No),
        ServiceBuilder::new().map_request(post_json).service(app),
    );
    let app = Router::new().route("/", post(by_axum));
    visit.http(
        Label::peer("axum's Json, in a router", Clocked::No),
        ServiceBuilder::new().map_request(post_json).service(app),
    );
}

async fn by_axum(
    axum::Json(Pair { a, b }): axum::Json<Pair>,
) -> Result<axum::Json<Pair>, Infallible> {
    Ok(axum::Json(Pair { a: a + b, b }))
}

fn post_json(_request: HttpRequest) -> Request<Full<Bytes>> {
    let body = Full::new(Bytes::from_static(br#"{"a":1,"b":2}"#));
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    request
}
