//! A layer around an endpoint has the protocol of HTTP.

use std::time::Duration;

use tower::ServiceBuilder;
use towerkit::{
    endpoint::{RpcError, endpoint_fn},
    http::HttpExt,
    timeout::TimeoutLayer,
    transport_http::{Json, serve},
};

fn main() {
    let double = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(1)).unwrap().http())
        .service(endpoint_fn((), |(), n: u32| async move { Ok::<_, RpcError>(2 * n) }));
    let _ = serve("double", Json, double);
}
