//! `.oneshot(..)` is E0599: the retry has no protocol.

use axum::{
    body::Body,
    http::{Request, Response},
};
use tower::{BoxError, ServiceBuilder, service_fn};
use towerkit::core::check;
use towerkit::retry::RetryLayer;

fn main() {
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new())
        .service(service_fn(async |_: Request<Body>| {
            Ok::<_, BoxError>(Response::new(Body::empty()))
        }));
    check::<Request<Body>, _>(&client);
}
