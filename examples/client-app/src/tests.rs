//! What the layers add, between a client and a server over a socket.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use axum::{Router, routing::get};
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::{net::TcpListener, sync::Notify};
use tonic::{
    Code, Response, Status,
    transport::server::{Server, TcpIncoming},
};
use tonic_app::{
    HelloReply,
    greeter_server::{Greeter, GreeterServer},
};

use super::*;

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (listener, url)
}

fn request(url: &str) -> Request<Empty<Bytes>> {
    Request::get(url).body(Empty::new()).unwrap()
}

/// Serves a page that is not answered before `go`, and tells of each call by `come`.
async fn slow_server(come: Arc<Notify>, go: Arc<Notify>) -> String {
    let (listener, url) = listener().await;
    let page = async move || {
        come.notify_one();
        go.notified().await;
    };
    let app = Router::new().route("/", get(page));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

#[tokio::test]
async fn without_a_timeout_a_call_waits_for_a_slow_server() {
    let (come, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let url = slow_server(come.clone(), go.clone()).await;
    let call = tokio::spawn(client().oneshot(request(&url)));
    come.notified().await;
    assert!(!call.is_finished());
    go.notify_one();
    assert_eq!(call.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn with_a_timeout_a_call_to_a_slow_server_ends() {
    let (come, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let url = slow_server(come, go).await;
    let client = protected_client(Duration::from_millis(50)).unwrap();
    let response = client.oneshot(request(&url)).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    let problem = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&problem).contains("\"status\":504"));
}

/// A greeter in trouble, which counts its calls.
struct Troubled(Arc<AtomicU32>);

#[tonic::async_trait]
impl Greeter for Troubled {
    async fn hello(&self, _: tonic::Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(Status::internal("out of words"))
    }
}

async fn troubled_server() -> (String, Arc<AtomicU32>) {
    let (listener, url) = listener().await;
    let calls = Arc::new(AtomicU32::new(0));
    let greeter = GreeterServer::new(Troubled(calls.clone()));
    let server = Server::builder().add_service(greeter);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    (url, calls)
}

fn ann() -> HelloRequest {
    HelloRequest {
        name: "Ann".to_owned(),
    }
}

#[tokio::test]
async fn without_a_breaker_every_call_reaches_a_server_in_trouble() {
    let (url, calls) = troubled_server().await;
    let mut greeter = GreeterClient::new(channel(url).unwrap());
    for _ in 0..5 {
        let error = greeter.hello(ann()).await.unwrap_err();
        assert_eq!(error.code(), Code::Internal);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn with_a_breaker_the_fourth_call_is_rejected_at_once() {
    let (url, calls) = troubled_server().await;
    let open_when = OpenWhen::consecutive_failures(3).unwrap();
    let mut greeter = GreeterClient::new(protected_channel(url, open_when).unwrap());
    for _ in 0..3 {
        let error = greeter.hello(ann()).await.unwrap_err();
        assert_eq!(error.code(), Code::Internal);
    }
    for _ in 0..2 {
        let error = greeter.hello(ann()).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}
