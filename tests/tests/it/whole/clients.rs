//! RT-05 over tonic: a `Channel` keeps the cause of its errors two links down.

use std::net::TcpListener;

use http::Request;
use tonic::{
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::{ServiceBuilder, ServiceExt};
use towerkit_http::{HttpExt, ReplayBody};
use towerkit_retry::RetryLayer;

/// A channel to a port that was just closed.
fn to_a_closed_port() -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    Endpoint::from_shared(format!("http://{at}"))
        .unwrap()
        .connect_lazy()
}

/// No gRPC method is idempotent unless the caller says so; a refused connection is tried again all the same.
#[tokio::test]
async fn a_call_over_a_channel_that_was_refused_is_tried_again() {
    let retry = RetryLayer::new();
    let handle = retry.handle();
    let service = ServiceBuilder::new()
        .layer(retry.grpc_client())
        .map_request(|request: Request<ReplayBody<Body>>| request.map(Body::new))
        .service(to_a_closed_port());
    let request = Request::post("/shop.Shop/Order").header("content-type", "application/grpc");
    let call = service.oneshot(request.body(Body::empty()).unwrap());
    call.await.unwrap_err();
    assert_eq!(handle.snapshot().retries, 2);
}
