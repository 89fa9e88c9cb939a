//! RT-05: the errors of clients of any type, and those of HTTP/2.

use std::{
    error::Error,
    fmt,
    io::{self, ErrorKind},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use towerkit_core::{
    BoxError, InspectResult, Outcome, Protocol, ProtocolKind, Rejection, RejectionReason,
};
use towerkit_http::{Grpc, Http};

fn request() -> Request<Empty<Bytes>> {
    let request = Request::post("http://localhost/");
    request.body(Empty::new()).unwrap()
}

const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// RST_STREAM of the first request (RFC 9113, section 6.4).
fn reset(code: u8) -> Vec<u8> {
    vec![0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, code]
}

/// GOAWAY, which leaves out streams after `last` (RFC 9113, section 6.8).
fn go_away(last: u8, code: u8) -> Vec<u8> {
    vec![0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, code]
}

/// Reads the first request, responds with `frames`, and closes the connection once they are read.
async fn answer(mut stream: DuplexStream, frames: Vec<u8>) -> io::Result<()> {
    stream.read_exact(&mut [0; 24]).await?;
    stream.write_all(&SETTINGS).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        stream.read_exact(&mut vec![0; length]).await?;
        if head[3] == 1 {
            break;
        }
    }
    stream.write_all(&frames).await?;
    stream.shutdown().await
}

async fn answered(frames: Vec<u8>) -> hyper::Error {
    let (server, client) = duplex(64 * 1024);
    tokio::spawn(answer(server, frames));
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(client))
        .await
        .unwrap();
    tokio::spawn(connection);
    client.send_request(request()).await.unwrap_err()
}

const NO_ERROR: u8 = 0;
const INTERNAL_ERROR: u8 = 2;
const REFUSED_STREAM: u8 = 7;
const CANCEL: u8 = 8;
const ENHANCE_YOUR_CALM: u8 = 11;

#[tokio::test]
async fn a_stream_that_the_server_refused_was_not_processed() {
    for (frames, expected) in [
        (reset(REFUSED_STREAM), true),
        (reset(INTERNAL_ERROR), false),
        (reset(CANCEL), false),
        (go_away(0, NO_ERROR), true),
        (go_away(0, ENHANCE_YOUR_CALM), true),
        (go_away(1, NO_ERROR), false),
        (go_away(1, ENHANCE_YOUR_CALM), false),
        (Vec::new(), false),
    ] {
        let error = answered(frames.clone()).await;
        let exchange = Http::new().client().open(&request(), ProtocolKind::Http);
        let result: Result<Response<()>, _> = Err(error);
        assert_eq!(
            exchange.is_unsent(&result),
            expected,
            "{frames:?}, {result:?}"
        );
        let boxed = Http::new().boxed_client();
        let exchange = boxed.open(&request(), ProtocolKind::Http);
        let result = result.map_err(BoxError::from);
        assert_eq!(exchange.is_unsent(&result), expected);
        let exchange = Http::new().open(&request(), ProtocolKind::Http);
        assert!(!exchange.is_unsent(&result), "only where it is asked for");
    }
}

/// An error type of the program.
#[derive(Debug)]
struct Own(BoxError);

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer")
    }
}

impl Error for Own {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

#[test]
fn errors_of_any_type_are_read_to_their_first_source() {
    let refused = || Own(io::Error::from(ErrorKind::ConnectionRefused).into());
    let rejected = || Own(Rejection::new(RejectionReason::RateLimited, "test").into());
    macro_rules! reads {
        ($protocol:expr) => {{
            let exchange = $protocol.open(&request(), ProtocolKind::Grpc);
            let result: Result<Response<()>, Own> = Err(refused());
            assert!(exchange.is_unsent(&result));
            assert_eq!(exchange.inspect(&result).outcome(), Outcome::Failure);
            let result: Result<Response<()>, Own> = Err(rejected());
            assert!(!exchange.is_unsent(&result));
            let end = exchange.inspect(&result);
            assert_eq!(end.rejection_reason(), Some(RejectionReason::RateLimited));
        }};
    }
    reads!(Http::new().client());
    reads!(Grpc::new().client());
    let exchange = Http::new().open(&request(), ProtocolKind::Http);
    let result: Result<Response<()>, Own> = Err(refused());
    assert!(
        !exchange.is_unsent(&result),
        "a type that is not known is opaque"
    );
}
