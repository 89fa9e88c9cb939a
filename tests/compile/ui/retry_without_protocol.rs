//! `.http()` or `.plain("operation")` is missing.

use axum::{
    body::Body,
    http::{Request, Response},
};
use tower::{BoxError, Layer, Service, service_fn};
use towerkit::retry::RetryLayer;

fn serve(_client: impl Service<Request<Body>>) {}

fn main() {
    let inner = service_fn(async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::empty())));
    let retry = RetryLayer::new();
    serve(retry.layer(inner));
}
