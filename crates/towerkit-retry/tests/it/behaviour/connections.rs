//! The connections that retries over HTTP/1 open, with hyper's client and server over pipes on paused time.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    rt::{Read, ReadBufCursor, Write},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::DuplexStream,
    time::{Instant, Sleep, sleep},
};
use tower::{Layer, Service, ServiceExt};
use towerkit_http::HttpExt;
use towerkit_retry::RetryLayer;

const MS: Duration = Duration::from_millis(1);

/// Opens connections to a server that fails once, and counts them.
#[derive(Clone)]
struct Connector {
    opened: Arc<AtomicUsize>,
    served: Arc<AtomicUsize>,
    failure: Trickle,
}

struct Pipe(TokioIo<DuplexStream>);

/// A body of `pieces` frames of the same length, with a pause before each and before the end.
#[derive(Debug, Clone)]
struct Trickle {
    pieces: usize,
    length: usize,
    pause: Duration,
}

struct TrickleBody {
    left: Trickle,
    sleep: Pin<Box<Sleep>>,
}

impl Body for TrickleBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::ready!(self.sleep.as_mut().poll(cx));
        if self.left.pieces == 0 {
            return Poll::Ready(None);
        }
        self.left.pieces -= 1;
        self.sleep = Box::pin(sleep(self.left.pause));
        Poll::Ready(Some(Ok(Frame::data(vec![7; self.left.length].into()))))
    }
}

impl Service<Uri> for Connector {
    type Response = Pipe;
    type Error = io::Error;
    type Future = Ready<io::Result<Pipe>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let (here, there) = tokio::io::duplex(1 << 20);
        let (served, failure) = (self.served.clone(), self.failure.clone());
        let answer = service_fn(move |_: Request<Incoming>| {
            let is_first = served.fetch_add(1, Ordering::SeqCst) == 0;
            let mut left = failure.clone();
            left.pieces = if is_first { left.pieces } else { 0 };
            let sleep = Box::pin(sleep(left.pause));
            let response = Response::builder()
                .status(if is_first { 503 } else { 200 })
                .header("grpc-retry-pushback-ms", "500");
            ready(response.body(TrickleBody { left, sleep }))
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(there), answer));
        ready(Ok(Pipe(TokioIo::new(here))))
    }
}

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Calls a server that first fails with this body, and returns the number of connections opened.
async fn connections(pieces: usize, length: usize, pause: Duration) -> usize {
    let opened = Arc::new(AtomicUsize::new(0));
    let client = Client::builder(TokioExecutor::new()).build(Connector {
        opened: opened.clone(),
        served: Arc::default(),
        failure: Trickle {
            pieces,
            length,
            pause,
        },
    });
    let began = Instant::now();
    let service = RetryLayer::new().http().layer(client);
    let request = Request::get("http://server/").body(Empty::<Bytes>::new());
    let response: Response<Incoming> = service.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    // The next attempt is never delayed.
    assert_eq!(began.elapsed(), 500 * MS);
    response.into_body().collect().await.unwrap();
    opened.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn the_connection_of_a_failed_attempt_is_used_again() {
    assert_eq!(connections(0, 0, Duration::ZERO).await, 1);
    assert_eq!(connections(1, 100, MS).await, 1);
    assert_eq!(connections(10, 1000, MS).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_body_of_a_failed_attempt_is_not_read() {
    // Too many bytes, too many pieces, too slow.
    assert_eq!(connections(10, 10_000, MS).await, 2);
    assert_eq!(connections(70, 1, MS).await, 2);
    assert_eq!(connections(2, 1, 200 * MS).await, 2);
}
