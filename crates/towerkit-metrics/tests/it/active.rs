//! MT-04: however a call ends, it is not active any more, and it is counted once.

use std::{
    future::{pending, ready},
    io,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tower::{BoxError, Layer, ServiceExt, service_fn, timeout::TimeoutLayer};
use towerkit_http::HttpExt;
use towerkit_metrics::{MetricsLayer, Registry};

use crate::scrape::Scraped;

const ACTIVE: &str = "http_server_active_requests";
const COUNT: &str = "http_server_request_duration_seconds_count";

/// The behaviour of the service in one call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Deed {
    Hang,
    Panic,
    PanicLater,
    Fail,
    HangInBody,
    FailInBody,
    PanicInBody,
}

/// A body of one frame, followed by the configured end.
struct Frames(Deed, bool);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !std::mem::replace(&mut self.1, true) {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from("frame")))));
        }
        match self.0 {
            Deed::FailInBody => Poll::Ready(Some(Err(io::Error::other("aborted")))),
            Deed::PanicInBody => panic!("in the body"),
            _ => Poll::Pending,
        }
    }
}

async fn serve(request: Request<Deed>) -> Result<Response<Frames>, BoxError> {
    match *request.body() {
        Deed::Hang => pending().await,
        Deed::PanicLater => {
            tokio::task::yield_now().await;
            panic!("later")
        }
        Deed::Fail => Err("failed".into()),
        deed => Ok(Response::new(Frames(deed, false))),
    }
}

/// Sees one call through, gives up after a second, and returns the outcome under which it was counted.
async fn outcome(deed: Deed, inner_timeout: bool) -> String {
    let registry = Registry::new();
    let layer = MetricsLayer::new().registry(registry.clone()).http();
    let call = async {
        let inner = service_fn(move |request| {
            assert_ne!(deed, Deed::Panic, "at once");
            serve(request)
        });
        let response = if inner_timeout {
            let inner = TimeoutLayer::new(Duration::from_millis(500)).layer(inner);
            layer.layer(inner).oneshot(Request::new(deed)).await
        } else {
            layer.layer(inner).oneshot(Request::new(deed)).await
        };
        let active = Scraped::of(&registry).all(ACTIVE);
        if let Ok(response) = response {
            assert_eq!(active, [1.0], "{deed:?} is active until its body ends");
            let _ = response.into_body().collect().await;
        }
    };
    // A panic unwinds through the call, as in a server's task.
    let call = to_the_first_panic(call);
    let _ = timeout(Duration::from_secs(1), call).await;
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.all(ACTIVE), [0.0], "{deed:?}");
    assert_eq!(scraped.all(COUNT), [1.0], "{deed:?}");
    scraped.values_of(COUNT, "outcome").concat()
}

/// Polls a future to its end, or to its first panic, after which it is dropped.
async fn to_the_first_panic(future: impl Future<Output = ()>) {
    let mut future = Box::pin(future);
    std::future::poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| future.as_mut().poll(cx));
        std::panic::catch_unwind(poll).unwrap_or(Poll::Ready(()))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_gauge_returns_to_zero_after_every_kind_of_end() {
    for (deed, inner_timeout, expected) in [
        (Deed::Hang, false, "cancelled"),
        (Deed::Hang, true, "failure"),
        (Deed::Panic, false, "failure"),
        (Deed::PanicLater, false, "failure"),
        (Deed::Fail, false, "failure"),
        (Deed::HangInBody, false, "cancelled"),
        (Deed::FailInBody, false, "failure"),
        (Deed::PanicInBody, false, "failure"),
    ] {
        let counted = outcome(deed, inner_timeout).await;
        assert_eq!(counted, expected, "{deed:?}, {inner_timeout}");
    }
}

/// A body that never ends.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1 << 14])))))
    }
}

/// Waits until a condition holds, for at most two minutes.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = timeout(Duration::from_secs(120), wait).await;
    assert!(waited.is_ok(), "not in time: {what}");
}

/// A real client of a real server, which goes away before the head and in the middle of the body.
#[tokio::test]
async fn a_client_that_disconnects_is_no_longer_active() {
    let registry = Registry::new();
    let endless = || ready(Response::new(Body::new(Endless)));
    let router = Router::new()
        .route("/hang", get(pending::<()>))
        .route("/endless", get(endless))
        .layer(MetricsLayer::new().registry(registry.clone()).axum());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let active = || Scraped::of(&registry).all(ACTIVE).iter().sum::<f64>();
    for path in ["/hang", "/endless"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        until("the call is active", || active() == 1.0).await;
        if path == "/endless" {
            let mut head = [0; 64];
            client.read_exact(&mut head).await.unwrap();
        }
        drop(client);
        until("the gauge is zero again", || active() == 0.0).await;
    }
    server.abort();
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.values_of(COUNT, "outcome"), ["cancelled"]);
    assert_eq!(scraped.all(COUNT), [1.0; 2]);
}
