//! RT-05: the errors by which a request was certainly not processed, so that any method may be retried.

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

/// Inspects an error as `.http()` does.
fn is_unsent<E: 'static>(error: E) -> bool {
    let exchange = Http::new().open(&request(), ProtocolKind::Http);
    let result: Result<Response<()>, E> = Err(error);
    exchange.is_unsent(&result)
}

#[test]
fn only_a_refused_connection_is_unsent() {
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
    let refused = || io::Error::from(ErrorKind::ConnectionRefused);
    assert!(is_unsent(refused()));
    assert!(is_unsent(BoxError::from(io::Error::other(refused()))));
    assert!(!is_unsent("an error of some type"));
}

/// The client reports a failed connect, for any reason.
#[tokio::test]
async fn a_failed_connect_of_the_client_is_unsent() {
    for kind in [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable] {
        let connector =
            service_fn(move |_: Uri| ready(Err::<TokioIo<TcpStream>, _>(io::Error::from(kind))));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let error = client.request(request()).await.unwrap_err();
        assert!(is_unsent(error), "{kind}");
    }
}

/// Fails if the peer closes the connection.
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
async fn a_request_read_before_the_connection_was_lost_was_sent() {
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
