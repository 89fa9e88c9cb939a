//! `.oneshot(..)` is E0599: a service that is retried must be `Clone`.

use axum::{
    body::Body,
    http::{Request, Response},
};
use tower::{BoxError, ServiceBuilder, service_fn, util::BoxService};
use towerkit::core::check;
use towerkit::http::HttpExt;
use towerkit::retry::RetryLayer;

fn main() {
    let transport = BoxService::new(service_fn(async |_: Request<Body>| {
        Ok::<_, BoxError>(Response::new(Body::empty()))
    }));
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new().http())
        .service(transport);
    check::<Request<Body>, _>(&client);
}
