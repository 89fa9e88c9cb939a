//! Clients and servers that keep no rules: raw HTTP/2 on the other side.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderMap, Request, Response, StatusCode, response::Parts};
use tokio::net::{TcpListener, TcpStream};
use tonic::{
    metadata::MetadataMap,
    transport::{Endpoint as TonicEndpoint, Server as TonicServer},
};
use tower::ServiceBuilder;
use towerkit_circuitbreaker::CircuitBreakerLayer;
use towerkit_concurrency::ConcurrencyLimitLayer;
use towerkit_core::{ErrorCode, Outcome, observe};
use towerkit_endpoint::{
    Endpoint, EndpointExt, IntoRpcError, Request as Call, RpcError, RpcExt, call_fn, endpoint,
    endpoint_fn,
};
use towerkit_http::HttpExt;
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_retry::RetryLayer;
use towerkit_transport_grpc::{MessageLimitLayer, client};

use crate::{
    math::{Math, Number, Pair, Server, adder, eventually, number, pair},
    server::Recorder,
};

/// A raw HTTP/2 client of a server.
struct RawClient(h2::client::SendRequest<Bytes>);

impl RawClient {
    async fn connect(server: &Server) -> Self {
        let address = server.url.strip_prefix("http://").unwrap();
        let socket = TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        Self(client.ready().await.unwrap())
    }

    /// Sends a request, and returns the head of the response and its trailers; `body` is all of it unless `more` follows.
    async fn call(
        &mut self,
        headers: &[(&str, &str)],
        body: &[u8],
        more: bool,
    ) -> Result<(Parts, HeaderMap), h2::Error> {
        let call = self.call_without_limit(headers, body, more);
        let limited = tokio::time::timeout(Duration::from_secs(60), call);
        limited.await.expect("an answer within a minute")
    }

    async fn call_without_limit(
        &mut self,
        headers: &[(&str, &str)],
        body: &[u8],
        more: bool,
    ) -> Result<(Parts, HeaderMap), h2::Error> {
        let mut request = Request::post("http://test/test.Math/Sum")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (response, mut stream) = self.0.send_request(request.body(()).unwrap(), false)?;
        stream.send_data(Bytes::copy_from_slice(body), !more)?;
        let (head, mut body) = response.await?.into_parts();
        while let Some(data) = body.data().await {
            let length = data?.len();
            body.flow_control().release_capacity(length)?;
        }
        Ok((head, body.trailers().await?.unwrap_or_default()))
    }

    /// Returns the code and the message of a response, which has HTTP status 200 and the content type of gRPC.
    async fn status(&mut self, headers: &[(&str, &str)], body: &[u8], more: bool) -> (u16, String) {
        let (head, trailers) = self.call(headers, body, more).await.unwrap();
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.headers["content-type"], "application/grpc");
        let place = match head.headers.contains_key("grpc-status") {
            true => head.headers,
            false => trailers,
        };
        assert_eq!(place.get_all("grpc-status").iter().count(), 1);
        assert!(place.get_all("grpc-message").iter().count() <= 1);
        let code = place["grpc-status"].to_str().unwrap().parse().unwrap();
        let message = place.get("grpc-message");
        let message = message.map_or("", |message| message.to_str().unwrap());
        (code, message.to_owned())
    }
}

/// The bytes of a message with `size` bytes of padding and its prefix.
fn message(size: usize) -> Vec<u8> {
    let padded = Pair {
        padding: vec![7; size],
        ..pair(1, 2)
    };
    let message = prost::Message::encode_to_vec(&padded);
    let length = u32::try_from(message.len()).unwrap();
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(message);
    bytes
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            let digits = std::str::from_utf8(&digits).unwrap().to_owned();
            decoded.push(u8::from_str_radix(&digits, 16).unwrap());
        } else {
            decoded.push(byte);
        }
    }
    decoded
}

/// GR-03
#[tokio::test]
async fn the_message_of_an_error_is_one_header_that_is_encoded_and_not_too_long() {
    for text in [
        "a\r\ngrpc-status: 0\r\n\r\nb".to_owned(),
        "100 % of %41".to_owned(),
        "crab 🦀, é, \u{7f}, \0".to_owned(),
        "x".repeat(64 << 10),
        "🦀".repeat(16 << 10),
        String::new(),
    ] {
        let state = text.clone();
        let server = Server::math(endpoint_fn(state, |text, _: Pair| async move {
            Err::<Number, _>(RpcError::new(ErrorCode::Aborted, text))
        }))
        .await;
        let mut raw = RawClient::connect(&server).await;
        let (code, sent) = raw.status(&[], &message(0), false).await;
        assert_eq!(code, 10);
        assert!(sent.len() <= 4096, "{}", sent.len());
        assert!(sent.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        let decoded = String::from_utf8(percent_decoded(&sent)).unwrap();
        assert!(text.starts_with(&decoded));
        assert!(decoded == text || sent.len() > 4000, "{decoded}");
    }
}

/// GR-03
#[tokio::test]
async fn a_panic_is_internal_on_the_wire() {
    let server = Server::math(endpoint_fn((), |(), _: Pair| async move {
        match true {
            true => panic!("password=hunter2"),
            false => Err::<Number, _>(RpcError::internal()),
        }
    }))
    .await;
    let mut raw = RawClient::connect(&server).await;
    for _ in 0..2 {
        let (code, message) = raw.status(&[], &message(0), false).await;
        assert_eq!((code, &*message), (13, "internal%20error"));
    }
}

async fn limited(max: usize) -> Server {
    Server::start(|incoming| {
        let mut server = TonicServer::builder().layer(MessageLimitLayer::new(max));
        server
            .add_service(Math(adder()))
            .serve_with_incoming(incoming)
    })
    .await
}

/// GR-04
#[tokio::test]
async fn a_message_over_the_limit_is_resource_exhausted_and_its_bytes_are_not_awaited() {
    let unary = Server::math(adder()).await;
    for (server, max) in [(unary, 4 << 20), (limited(1000).await, 1000)] {
        let mut raw = RawClient::connect(&server).await;
        let [a, b, c, d] = u32::try_from(max + 1).unwrap().to_be_bytes();
        let (code, text) = raw.status(&[], &[0, a, b, c, d], true).await;
        assert_eq!(code, 8, "{text}");
        let (code, text) = raw.status(&[], &[0, 255, 255, 255, 255], true).await;
        assert_eq!(code, 8, "{text}");
        let (code, _) = raw.status(&[], &message(900), false).await;
        assert_eq!(code, 0);
    }
}

/// GR-04: of streams, too, behind generated code of tonic.
#[tokio::test]
async fn a_limit_of_messages_holds_for_streams() {
    let server = limited(1000).await;
    let mut grpc = tonic::client::Grpc::new(server.channel().await);
    let padded = |size| Pair {
        padding: vec![7; size],
        ..pair(1, 2)
    };
    for (sizes, code) in [
        ([900, 900, 900], None),
        ([900, 1000, 900], Some(tonic::Code::ResourceExhausted)),
    ] {
        grpc.ready().await.unwrap();
        let pairs = futures_util::stream::iter(sizes.map(padded));
        let path = http::uri::PathAndQuery::from_static("/test.Math/Add");
        let codec = tonic_prost::ProstCodec::<Pair, Number>::default();
        let sum = grpc.client_streaming(tonic::Request::new(pairs), path, codec);
        let sum = sum.await.map(|reply| reply.into_inner().value);
        match code {
            None => assert_eq!(sum.unwrap(), 9),
            Some(code) => assert_eq!(sum.unwrap_err().code(), code),
        }
    }
}

/// A layer for gRPC leaves the bodies of other protocols alone.
#[tokio::test]
async fn a_body_of_another_protocol_has_no_limit_of_messages() {
    use http_body_util::{BodyExt, Full};
    use tower::ServiceExt;
    let length = ServiceBuilder::new()
        .layer(MessageLimitLayer::new(10))
        .service_fn(|request: Request<_>| async move {
            let body: towerkit_transport_grpc::MessageLimitBody<Full<Bytes>> = request.into_body();
            Ok::<_, tower::BoxError>(body.collect().await?.to_bytes().len())
        });
    let html = || Full::new(Bytes::from_static(b"<html>long enough</html>"));
    let request = Request::post("/").header("content-type", "text/html");
    let passed = length.oneshot(request.body(html()).unwrap()).await;
    assert_eq!(passed.unwrap(), 24);
    let request = Request::post("/").header("content-type", "application/grpc+proto");
    let error = length.oneshot(request.body(html()).unwrap()).await;
    let status = *error.unwrap_err().downcast::<tonic::Status>().unwrap();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
}

/// GR-04
#[tokio::test]
async fn a_malformed_message_is_internal_and_the_connection_goes_on() {
    let server = Server::math(adder()).await;
    let mut raw = RawClient::connect(&server).await;
    let mut compressed = message(0);
    compressed[0] = 1;
    let mut strange = message(0);
    strange[0] = 7;
    let truncated = &message(10)[..12];
    let no_protobuf = [0, 0, 0, 0, 3, 255, 255, 255];
    for body in [&compressed[..], &strange, truncated, &no_protobuf, &[]] {
        let (code, text) = raw.status(&[], body, false).await;
        assert_eq!(code, 13, "{text}");
    }
    let unknown = [("grpc-encoding", "gzip")];
    let (code, text) = raw.status(&unknown, &message(0), false).await;
    assert_eq!(code, 12, "{text}");
    let (code, _) = raw.status(&[], &message(0), false).await;
    assert_eq!(code, 0);
}

/// GR-09
#[tokio::test]
async fn invalid_and_reserved_metadata_is_ignored() {
    let server = Server::math(call_fn((), |(), request: Call<Pair>| async move {
        let metadata = MetadataMap::from_headers(request.headers);
        let bytes = metadata.get_bin("x-bytes-bin").unwrap().to_bytes();
        assert!(bytes.is_err());
        Ok::<_, RpcError>(number(3))
    }))
    .await;
    let mut raw = RawClient::connect(&server).await;
    let headers = [
        ("x-bytes-bin", "%%% no base64 %%%"),
        ("grpc-status", "13"),
        ("grpc-message", "%ZZ%FF"),
        ("grpc-status-details-bin", "%%%"),
        ("grpc-retry-pushback-ms", "-1"),
        ("grpc-timeout", "soon"),
        ("grpc-invented", "yes"),
    ];
    let (code, text) = raw.status(&headers, &message(0), false).await;
    assert_eq!(code, 0, "{text}");
}

/// GR-09
#[tokio::test]
async fn too_much_metadata_is_refused_and_the_next_call_is_served() {
    let server = Server::math(adder()).await;
    let mut raw = RawClient::connect(&server).await;
    let large = "x".repeat(100 << 10);
    let refused = raw.call(&[("x-large", &large)], &message(0), false).await;
    let is_refused = match refused {
        Ok((head, _)) => head.status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Err(error) => error.is_reset() || error.is_go_away(),
    };
    assert!(is_refused);
    let mut raw = RawClient::connect(&server).await;
    let (code, _) = raw.status(&[], &message(0), false).await;
    assert_eq!(code, 0);
}

/// GR-05
#[tokio::test]
async fn a_rejection_is_a_grpc_status_on_http_200() {
    let hour = Duration::from_secs(3600);
    let limit = || RateLimitLayer::new(Quota::new(1, hour).unwrap());
    let fails = || {
        endpoint_fn((), |(), _: Pair| async move {
            Err::<Number, _>(RpcError::new(ErrorCode::DataLoss, "told to fail"))
        })
    };
    let breaker = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::new().rpc())
        .service(fails());
    let limited = ServiceBuilder::new().layer(limit().rpc()).service(adder());
    let around = Server::start(|incoming| {
        let mut server = TonicServer::builder().layer(limit().grpc());
        server
            .add_service(Math(adder()))
            .serve_with_incoming(incoming)
    })
    .await;
    let nap = endpoint_fn((), |(), _: Pair| {
        std::future::pending::<Result<Number, RpcError>>()
    });
    let one = ConcurrencyLimitLayer::new(1).unwrap();
    let in_flight = one.handle();
    let busy = ServiceBuilder::new().layer(one.rpc()).service(nap);
    let busy = Server::math(busy).await;
    let mut first = RawClient::connect(&busy).await;
    tokio::spawn(async move { first.call(&[], &message(0), false).await });
    eventually("the only permit is held", || {
        in_flight.snapshot().in_flight == 1
    })
    .await;
    for (server, code) in [
        (Server::math(limited).await, 8),
        (around, 8),
        (Server::math(breaker).await, 14),
        (busy, 14),
    ] {
        let mut raw = RawClient::connect(&server).await;
        let mut codes = Vec::new();
        for _ in 0..200 {
            let (code, _) = raw.status(&[], &message(0), false).await;
            codes.push(code);
        }
        assert_eq!(codes.last(), Some(&code), "{codes:?}");
    }
}

/// A raw HTTP/2 server, which answers each call by a function.
async fn raw_server(
    respond: impl Fn(Request<RecvStream>, SendResponse<Bytes>) + Clone + Send + 'static,
) -> Endpoint<Pair, i64, RpcError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let respond = respond.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                while let Some(Ok((request, response))) = connection.accept().await {
                    respond(request, response);
                }
            });
        }
    });
    sum(address)
}

fn sum(address: SocketAddr) -> Endpoint<Pair, i64, RpcError> {
    let url = format!("http://{address}");
    let channel = TonicEndpoint::from_shared(url).unwrap().connect_lazy();
    endpoint(client::<Pair, Number, _, _, _>(channel, "/test.Math/Sum").unwrap())
}

/// A head with this status and these headers.
fn head(status: u16, headers: &[(&'static str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap()
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// GR-06
#[tokio::test]
async fn the_status_of_a_proxy_becomes_a_code_with_and_without_a_page() {
    let table = [
        (400, ErrorCode::Internal),
        (401, ErrorCode::Unauthenticated),
        (403, ErrorCode::PermissionDenied),
        (404, ErrorCode::Unimplemented),
        (429, ErrorCode::Unavailable),
        (502, ErrorCode::Unavailable),
        (503, ErrorCode::Unavailable),
        (504, ErrorCode::Unavailable),
        (500, ErrorCode::Unknown),
        (302, ErrorCode::Unknown),
        (200, ErrorCode::Unknown),
    ];
    for (status, code) in table {
        let empty = raw_server(move |_, mut response| {
            response.send_response(head(status, &[]), true).unwrap();
        })
        .await;
        let page = raw_server(move |_, mut response| {
            let head = head(status, &[("content-type", "text/html")]);
            let mut body = response.send_response(head, false).unwrap();
            let page = Bytes::from_static(b"<html>a page of a proxy</html>");
            body.send_data(page, true).unwrap();
        })
        .await;
        let like_grpc = raw_server(move |_, mut response| {
            response.send_response(head(status, &[GRPC]), true).unwrap();
        })
        .await;
        for sum in [empty, page, like_grpc] {
            let error = sum.invoke(pair(1, 2)).await.unwrap_err();
            assert_eq!(error.code(), code, "{status}: {error:?}");
            assert!(!error.is_unsent());
        }
    }
}

/// GR-09: tonic panics at details that are no base64.
#[tokio::test]
async fn a_malformed_status_of_a_server_is_an_error_and_no_panic() {
    let malformed: [(&[(&'static str, &str)], ErrorCode); 6] = [
        (
            &[("grpc-status", "5"), ("grpc-status-details-bin", "%%%")],
            ErrorCode::NotFound,
        ),
        (
            &[("grpc-status", "5"), ("grpc-message", "%ZZ%4")],
            ErrorCode::NotFound,
        ),
        (
            &[("grpc-status", "5"), ("grpc-message", "%FF%FE")],
            ErrorCode::Unknown,
        ),
        (&[("grpc-status", "99")], ErrorCode::Unknown),
        (&[("grpc-status", "")], ErrorCode::Unknown),
        (
            &[("grpc-status", "5"), ("x-bytes-bin", "%%%")],
            ErrorCode::NotFound,
        ),
    ];
    for (headers, code) in malformed {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.to_string()))
            .collect();
        let map = || {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.append(*name, value.parse().unwrap());
            }
            map
        };
        let (in_head, in_trailers) = (map(), map());
        let in_head = raw_server(move |_, mut response| {
            let mut head = head(200, &[GRPC]);
            head.headers_mut().extend(in_head.clone());
            response.send_response(head, true).unwrap();
        })
        .await;
        let in_trailers = raw_server(move |_, mut response| {
            let mut body = response.send_response(head(200, &[GRPC]), false).unwrap();
            body.send_trailers(in_trailers.clone()).unwrap();
        })
        .await;
        for sum in [in_head, in_trailers] {
            let error = sum.invoke(pair(1, 2)).await.unwrap_err();
            assert_eq!(error.code(), code, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn a_malformed_response_is_an_error() {
    let table: [(&[u8], ErrorCode); 6] = [
        (&[], ErrorCode::Unknown),
        (&[0, 0, 0, 0, 2, 8], ErrorCode::Internal),
        (&[7, 0, 0, 0, 2, 8, 3], ErrorCode::Internal),
        (&[1, 0, 0, 0, 2, 8, 3], ErrorCode::Internal),
        (&[0, 0, 0, 0, 3, 255, 255, 255], ErrorCode::Internal),
        (&[0, 255, 255, 255, 255], ErrorCode::ResourceExhausted),
    ];
    for (bytes, code) in table {
        let sum = raw_server(move |_, mut response| {
            let mut body = response.send_response(head(200, &[GRPC]), false).unwrap();
            body.send_data(Bytes::from_static(bytes), true).unwrap();
        })
        .await;
        let error = sum.invoke(pair(1, 2)).await.unwrap_err();
        assert_eq!(error.code(), code, "{bytes:?}: {error:?}");
    }
}

/// By the rules of HTTP/2 the server did not process such a request, so that any request is sent again.
#[tokio::test]
async fn a_refused_stream_is_unsent_and_retried() {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = calls.clone();
    let sum = raw_server(move |_, mut response| {
        if count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 1 {
            response.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        let mut body = response.send_response(head(200, &[GRPC]), false).unwrap();
        let three = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 3]);
        body.send_data(three, false).unwrap();
        let ok = HeaderMap::from_iter([("grpc-status".parse().unwrap(), 0.into())]);
        body.send_trailers(ok).unwrap();
    })
    .await;
    let retried = ServiceBuilder::new()
        .layer(RetryLayer::new().rpc())
        .service(sum.clone());
    assert_eq!(retried.invoke(pair(1, 2)).await.unwrap(), 3);
    assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_reset_has_the_code_of_grpc() {
    let table = [
        (Reason::REFUSED_STREAM, ErrorCode::Unavailable, true),
        (Reason::CANCEL, ErrorCode::Cancelled, false),
        (Reason::INTERNAL_ERROR, ErrorCode::Internal, false),
        (
            Reason::ENHANCE_YOUR_CALM,
            ErrorCode::ResourceExhausted,
            false,
        ),
    ];
    for (reason, code, unsent) in table {
        let sum = raw_server(move |_, mut response| response.send_reset(reason)).await;
        let error = sum.invoke(pair(1, 2)).await.unwrap_err();
        assert_eq!(error.code(), code, "{reason:?}: {error:?}");
        assert_eq!(error.is_unsent(), unsent, "{reason:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_in_a_call_is_unavailable_and_not_unsent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sum = sum(listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let mut connection = h2::server::handshake(socket).await.unwrap();
            let call = connection.accept().await;
            drop((call, connection));
        }
    });
    let error = sum.invoke(pair(1, 2)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable, "{error:?}");
    assert_eq!(error.message(), "the upstream is unavailable");
    assert!(!error.is_unsent(), "{error:?}");
}

/// How a client leaves a call of which the server reads the message.
#[derive(Debug, Clone, Copy)]
enum Leave {
    Reset(Reason),
    Disconnect,
    /// Not gone: its message breaks off.
    End,
}

/// GR-05
#[tokio::test]
async fn a_client_that_goes_while_its_message_is_read_has_cancelled_the_call() {
    let recorder = Recorder::default();
    let observer = observe(recorder.clone()).grpc();
    let server = Server::start(|incoming| {
        let layers = ServiceBuilder::new()
            .layer(observer)
            .layer(MessageLimitLayer::new(1000))
            .into_inner();
        let mut server = TonicServer::builder().layer(layers);
        let server = server.add_service(Math(adder()));
        server.serve_with_incoming(incoming)
    })
    .await;
    let address = server.url.strip_prefix("http://").unwrap();
    // By an endpoint, and by the code of tonic.
    for path in ["/test.Math/Sum", "/test.Math/Add"] {
        for (leave, outcome) in [
            (Leave::Reset(Reason::CANCEL), Outcome::Cancelled),
            (Leave::Reset(Reason::INTERNAL_ERROR), Outcome::Cancelled),
            (Leave::Disconnect, Outcome::Cancelled),
            (Leave::End, Outcome::Failure),
        ] {
            let socket = TcpStream::connect(address).await.unwrap();
            let (client, connection) = h2::client::handshake(socket).await.unwrap();
            let connection = tokio::spawn(connection);
            let mut client = client.ready().await.unwrap();
            let request = Request::post(format!("http://test{path}"));
            let request = request.header("content-type", "application/grpc");
            let request = request.header("te", "trailers").body(()).unwrap();
            let (response, mut stream) = client.send_request(request, false).unwrap();
            stream
                .send_data(Bytes::from_static(&[0, 0, 0, 0, 9, 1]), false)
                .unwrap();
            // The server reads: it has answered a call that came after this one.
            let ping = client.clone().ready().await.unwrap();
            let (code, _) = RawClient(ping).status(&[], &message(0), false).await;
            assert_eq!(code, 0);
            match leave {
                Leave::Reset(reason) => stream.send_reset(reason),
                Leave::Disconnect => connection.abort(),
                Leave::End => stream.send_data(Bytes::new(), true).unwrap(),
            }
            eventually("both calls have ended", || recorder.len() == 2).await;
            let end = recorder.take().pop().unwrap();
            assert_eq!(end.outcome(), outcome, "{path} {leave:?} {end:?}");
            drop((response, client));
        }
    }
}
