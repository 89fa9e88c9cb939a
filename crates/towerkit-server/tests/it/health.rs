//! Probes over HTTP and gRPC.

use std::pin::pin;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::{net::TcpListener, sync::oneshot};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::ServiceExt;
use towerkit_server::{Health, Server};

use crate::setup::{LONGER, soon};

/// The status and the body of the response to a probe.
async fn probe(health: &Health, method: &str, path: &str) -> (u16, String) {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = health.service().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.into()).unwrap())
}

#[tokio::test]
async fn probes_answer_by_the_state() {
    let health = Health::new();
    let ok = (200, "ok\n".to_owned());
    assert_eq!(probe(&health, "GET", "/livez").await, ok);
    assert_eq!(probe(&health, "GET", "/readyz").await.0, 503);
    let serving = async {
        assert_eq!(probe(&health, "GET", "/readyz").await, ok);
        health.set_ready(false);
        assert_eq!(probe(&health, "GET", "/readyz").await.0, 503);
        health.set_ready(true);
        assert_eq!(probe(&health, "GET", "/readyz").await, ok);
        health.set_live(false);
        assert_eq!(probe(&health, "HEAD", "/livez").await.0, 503);
        health.set_live(true);
    };
    Server::new().health(health.clone()).run(serving).await;
    assert_eq!(probe(&health, "GET", "/readyz").await.0, 503);
    assert_eq!(probe(&health, "GET", "/livez").await, ok);
}

#[tokio::test]
async fn other_paths_are_404_and_other_methods_405() {
    let health = Health::new();
    assert_eq!(probe(&health, "GET", "/").await.0, 404);
    assert_eq!(probe(&health, "POST", "/livez").await.0, 405);
}

async fn check(client: &mut HealthClient<tonic::transport::Channel>, service: &str) -> i32 {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let response = soon(client.check(request)).await.unwrap();
    response.into_inner().status
}

/// GR-02
#[tokio::test]
async fn grpc_clients_see_not_serving_before_the_drain() {
    const SERVING: i32 = ServingStatus::Serving as i32;
    const NOT_SERVING: i32 = ServingStatus::NotServing as i32;
    const UNKNOWN: i32 = ServingStatus::ServiceUnknown as i32;
    let health = Health::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    // No pause between not ready and the drain.
    let server = Server::new().health(health.clone());
    let service = health.grpc_service(["pb.Add"]);
    let server = tokio::spawn(server.serve(listener, service, async {
        let _ = stopped.await;
    }));
    let channel = tonic::transport::Endpoint::from_shared(url).unwrap();
    let mut client = HealthClient::new(soon(channel.connect()).await.unwrap());
    assert_eq!(check(&mut client, "").await, SERVING);
    assert_eq!(check(&mut client, "pb.Add").await, SERVING);
    let unknown = HealthCheckRequest {
        service: "pb.Other".to_owned(),
    };
    let error = soon(client.check(unknown.clone())).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);

    let known = HealthCheckRequest {
        service: "pb.Add".to_owned(),
    };
    let mut known = soon(client.watch(known)).await.unwrap().into_inner();
    let mut unknown = soon(client.watch(unknown)).await.unwrap().into_inner();
    let status = |message: Option<tonic_health::pb::HealthCheckResponse>| message.unwrap().status;
    assert_eq!(status(soon(known.message()).await.unwrap()), SERVING);
    assert_eq!(status(soon(unknown.message()).await.unwrap()), UNKNOWN);
    health.set_ready(false);
    assert_eq!(check(&mut client, "pb.Add").await, NOT_SERVING);
    assert_eq!(status(soon(known.message()).await.unwrap()), NOT_SERVING);
    health.set_ready(true);
    assert_eq!(status(soon(known.message()).await.unwrap()), SERVING);
    {
        // No change, no message.
        let mut unchanged = pin!(unknown.message());
        let waited = tokio::time::timeout(LONGER, unchanged.as_mut()).await;
        assert!(waited.is_err());
    }
    drop(stop);
    assert_eq!(status(soon(known.message()).await.unwrap()), NOT_SERVING);
    assert!(soon(known.message()).await.unwrap().is_none());
    // The streams of `Watch` do not hold up the drain.
    assert!(soon(server).await.unwrap().is_complete());
}
