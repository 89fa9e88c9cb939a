//! `.http()` or `.plain("operation")` is missing.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, Response},
};
use tower::{BoxError, Layer, Service, service_fn};
use towerkit::hedge::HedgeLayer;

fn serve(_client: impl Service<Request<Body>>) {}

fn main() {
    let inner = service_fn(async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::empty())));
    let hedge = HedgeLayer::after(Duration::from_millis(50)).unwrap();
    serve(hedge.layer(inner));
}
