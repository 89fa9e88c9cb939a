//! The laws, the costs and the behaviour of hedging, in the order of the docs.

mod allocations;
mod backend;
mod budgets;
mod contract;
mod handle;
mod idempotence;
mod model;
mod panics;
mod percentile;
mod race;
mod readiness;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt};
use towerkit_core::BoxError;
use towerkit_hedge::{Hedge, HedgeFuture, HedgeHandle, HedgeLayer};
use towerkit_http::{Http, HttpExt};
use towerkit_retry::Idempotence;
use towerkit_test::Probe;

use crate::backend::Backend;

/// Hedges over HTTP after 50 ms.
fn layer() -> HedgeLayer<Http> {
    HedgeLayer::after(Duration::from_millis(50)).unwrap().http()
}

type Get = Request<Full<Bytes>>;

fn get() -> Get {
    Request::new(Full::default())
}

fn request(method: Method, body: &'static str) -> Get {
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = method;
    request
}

async fn call<I: Idempotence<Get> + Clone>(
    layer: &HedgeLayer<Http, I>,
    backend: &Backend,
    request: Get,
) -> Result<Response<Full<Bytes>>, BoxError> {
    layer.layer(backend.clone()).oneshot(request).await
}

/// Calls the service when it is ready, and returns its future.
async fn start(service: &mut Hedge<Backend, Http>) -> HedgeFuture<Backend, Http, Get> {
    let service = ServiceExt::<Get>::ready(service).await.unwrap();
    service.call(get())
}

/// Returns the number of the attempt that sent the response, from 0.
async fn number(response: Response<Full<Bytes>>) -> usize {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    std::str::from_utf8(&body).unwrap().parse().unwrap()
}

#[test]
fn services_and_futures_are_send() {
    fn send_sync<T: Send + Sync>() {}
    fn send<T: Send>() {}
    send_sync::<HedgeLayer<Http>>();
    send_sync::<Hedge<Probe, Http>>();
    send_sync::<HedgeHandle>();
    send::<HedgeFuture<Backend, Http, Get>>();
}
