// A layer around an endpoint has the protocol of HTTP.

use std::time::Duration;

use tower::ServiceBuilder;
use towerkit::{
    towerkit_endpoint::{RpcError, endpoint_fn},
    towerkit_http::HttpExt,
    towerkit_timeout::TimeoutLayer,
    towerkit_transport_http::{Json, serve},
};

fn main() {
    let double = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(1)).unwrap().http())
        .service(endpoint_fn((), |(), n: u32| async move { Ok::<_, RpcError>(2 * n) }));
    let _ = serve("double", Json, double);
}
