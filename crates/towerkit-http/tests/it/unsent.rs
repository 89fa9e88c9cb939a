//! RT-05: which errors say that a request was certainly not processed, so that any method may be tried again.

use std::{
    future::ready,
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, ReadBuf, duplex, join, split},
    net::TcpStream,
};
use tower::service_fn;
use towerkit_core::{BoxError, InspectResult, Protocol, ProtocolKind};
use towerkit_http::Http;

fn request() -> Request<Empty<Bytes>> {
    let request = Request::post("http://localhost/");
    request.body(Empty::new()).unwrap()
}

/// As `.http()` reads it.
fn is_unsent<E: 'static>(error: E) -> bool {
    let exchange = Http::new().open(&request(), ProtocolKind::Http);
    let result: Result<Response<()>, E> = Err(error);
    exchange.is_unsent(&result)
}

#[test]
fn only_a_connection_that_was_refused_sent_nothing() {
    for kind in [
        ErrorKind::ConnectionReset,
        // These two may come long after the connection was made, when a route is lost.
        ErrorKind::HostUnreachable,
        ErrorKind::NetworkUnreachable,
        ErrorKind::BrokenPipe,
        ErrorKind::TimedOut,
    ] {
        assert!(!is_unsent(io::Error::from(kind)), "{kind}");
        assert!(!is_unsent(BoxError::from(io::Error::from(kind))), "{kind}");
    }
    let rejected = || io::Error::from(ErrorKind::ConnectionRefused);
    assert!(is_unsent(rejected()));
    assert!(is_unsent(BoxError::from(io::Error::other(rejected()))));
    assert!(!is_unsent("an error of some type"));
}

/// The client says that it could not connect, whatever the reason.
#[tokio::test]
async fn a_client_that_could_not_connect_sent_nothing() {
    for kind in [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable] {
        let connector =
            service_fn(move |_: Uri| ready(Err::<TokioIo<TcpStream>, _>(io::Error::from(kind))));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let error = client.request(request()).await.unwrap_err();
        assert!(is_unsent(error), "{kind}");
    }
}

/// Fails where the other side closes.
struct LosesItsRoute<R>(R);

impl<R: AsyncRead + Unpin> AsyncRead for LosesItsRoute<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        if buf.filled().len() == before {
            return Poll::Ready(Err(ErrorKind::HostUnreachable.into()));
        }
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_request_that_was_read_before_the_route_was_lost_was_sent() {
    let (mut server, client) = duplex(1024);
    let (read, write) = split(client);
    let stream = TokioIo::new(join(LosesItsRoute(read), write));
    let (mut client, connection) = http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let read = tokio::spawn(async move { server.read_u8().await });
    let error = client.send_request(request()).await.unwrap_err();
    assert_eq!(read.await.unwrap().unwrap(), b'P');
    assert!(!is_unsent(BoxError::from(error)));
}
