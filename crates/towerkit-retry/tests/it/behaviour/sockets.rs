//! RT-05: requests that were sent and requests that were not, over real sockets and hyper's client.

use std::{
    net::{SocketAddr, TcpListener as Listener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower::{Layer, ServiceExt};
use towerkit_core::Event;
use towerkit_http::HttpExt;
use towerkit_retry::RetryLayer;

fn post(to: SocketAddr) -> Request<Full<Bytes>> {
    let request = Request::builder().method(Method::POST);
    let request = request.uri(format!("http://{to}/orders"));
    request.body(Full::from("one apple")).unwrap()
}

/// Sends an order with hyper's client behind a retry.
async fn order(layer: RetryLayer, to: SocketAddr) -> Result<Response<Incoming>, Error> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let call = layer.http().layer(client).oneshot(post(to));
    timeout(Duration::from_secs(60), call)
        .await
        .expect("an end within a minute")
}

fn free_port() -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

fn listening(listener: Listener) -> TcpListener {
    listener.set_nonblocking(true).unwrap();
    TcpListener::from_std(listener).unwrap()
}

/// Accepts one order, and echoes it.
async fn take_order(listener: TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let echo = service_fn(async |request: Request<Incoming>| {
        let body = request.into_body().collect().await?.to_bytes();
        Ok::<_, hyper::Error>(Response::new(Full::new(body)))
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), echo);
    _ = connection.await;
}

/// The port is closed at first; the first retry opens it.
#[tokio::test]
async fn an_unsent_order_is_retried() {
    let (listener, at) = free_port();
    drop(listener);
    let runtime = tokio::runtime::Handle::current();
    let retries = Arc::new(AtomicUsize::new(0));
    let sink = {
        let retries = retries.clone();
        move |event: &Event| {
            let is_first = retries.fetch_add(1, Ordering::SeqCst) == 0;
            if is_first && matches!(event, Event::Retried { .. }) {
                let listener = Listener::bind(at).unwrap();
                runtime.spawn(async { take_order(listening(listener)).await });
            }
        }
    };
    let response = order(RetryLayer::new().events(sink), at).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "one apple");
    assert_eq!(retries.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_that_is_refused_every_time_returns_its_error() {
    let (listener, at) = free_port();
    drop(listener);
    let layer = RetryLayer::new();
    let handle = layer.handle();
    let error = order(layer, at).await.unwrap_err();
    assert!(error.is_connect());
    assert_eq!(handle.snapshot().retries, 2);
}

/// Reads each order completely and then resets the connection. Returns the orders read.
fn read_and_reset() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let (listener, at) = free_port();
    let listener = listening(listener);
    let orders = Arc::new(Mutex::new(Vec::new()));
    let read = orders.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let order = read_order(stream).await;
            read.lock().unwrap().push(order);
        }
    });
    (at, orders)
}

async fn read_order(mut stream: TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"one apple") {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
    }
    stream.set_zero_linger().unwrap();
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn an_order_that_may_have_arrived_is_not_retried() {
    let (at, orders) = read_and_reset();
    let layer = RetryLayer::new();
    let handle = layer.handle();
    let error = order(layer, at).await.unwrap_err();
    assert!(!error.is_connect(), "{error:?}");
    assert_eq!(orders.lock().unwrap().len(), 1);
    assert_eq!(handle.snapshot().budget.withdrawn, 0);
}

#[tokio::test]
async fn an_idempotent_order_is_retried() {
    let (at, orders) = read_and_reset();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let layer = RetryLayer::new().idempotent().http();
    let call = layer.layer(client).oneshot(post(at));
    timeout(Duration::from_secs(60), call)
        .await
        .unwrap()
        .unwrap_err();
    let orders = orders.lock().unwrap();
    assert_eq!(orders.len(), 3);
    assert!(
        orders[2].to_lowercase().contains("x-retry-attempt: 2"),
        "{}",
        orders[2]
    );
}

/// Rejects two orders as overloaded and accepts the third, over HTTP/1 or HTTP/2.
fn overloaded_twice(http2: bool) -> SocketAddr {
    let (listener, at) = free_port();
    let listener = listening(listener);
    let seen = Arc::new(AtomicUsize::new(0));
    let echo = service_fn(move |request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let body = request.into_body().collect().await?.to_bytes();
            let mut response = Response::new(Full::new(body));
            if seen.fetch_add(1, Ordering::SeqCst) < 2 {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            Ok::<_, hyper::Error>(response)
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (stream, echo) = (TokioIo::new(stream), echo.clone());
            if http2 {
                let server = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(stream, echo));
            } else {
                tokio::spawn(http1::Builder::new().serve_connection(stream, echo));
            }
        }
    });
    at
}

/// RT-06: hyper has released the body before the response arrives.
#[tokio::test]
async fn a_body_is_replayed_over_a_real_connection() {
    for http2 in [false, true] {
        let at = overloaded_twice(http2);
        let client = Client::builder(TokioExecutor::new())
            .http2_only(http2)
            .build_http();
        let layer = RetryLayer::new().idempotent().http();
        let call = layer.layer(client).oneshot(post(at));
        let response = timeout(Duration::from_secs(60), call).await.unwrap();
        let response = response.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{http2}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "one apple");
    }
}
