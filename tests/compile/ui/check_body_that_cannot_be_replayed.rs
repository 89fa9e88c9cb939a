//! `.oneshot(..)` is E0599: the request body cannot be sent twice.

use axum::{
    body::Body,
    http::{Request, Response},
};
use tower::{BoxError, ServiceBuilder, service_fn};
use towerkit::core::check;
use towerkit::http::HttpExt;
use towerkit::retry::RetryLayer;

struct Upload;

fn main() {
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new().http())
        .service(service_fn(async |_: Request<Upload>| {
            Ok::<_, BoxError>(Response::new(Body::empty()))
        }));
    check::<Request<Upload>, _>(&client);
}
