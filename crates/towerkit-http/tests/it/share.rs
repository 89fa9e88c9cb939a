//! Responses that are collected and shared, and the keys of requests.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use towerkit_core::{
    CallEnd, Outcome, Protocol, ProtocolKind, Rejection, RejectionReason, ShareResponse, Status,
};
use towerkit_http::{CollectedBody, Grpc, GrpcExchange, Http, HttpExchange, RequestKey};
use towerkit_test::Task;

const LIMIT: usize = 10;

/// A body of these frames, of unknown length.
#[derive(Debug)]
struct Streamed(VecDeque<io::Result<Frame<Bytes>>>);

impl Streamed {
    fn of(parts: &[&'static str]) -> Self {
        let frame = |part: &&'static str| Ok(Frame::data(Bytes::from_static(part.as_bytes())));
        Self(parts.iter().map(frame).collect())
    }

    fn then(mut self, frame: io::Result<Frame<Bytes>>) -> Self {
        self.0.push_back(frame);
        self
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.pop_front())
    }
}

type Collected = Response<CollectedBody<Streamed>>;

fn http() -> HttpExchange<towerkit_http::ByStatus> {
    Http::new().open(&Request::new(()), ProtocolKind::Http)
}

fn grpc() -> GrpcExchange {
    Grpc::new().open(&Request::new(()), ProtocolKind::Grpc)
}

async fn collect<X>(exchange: &X, response: Response<Streamed>) -> (Collected, CallEnd)
where
    X: ShareResponse<Response<Streamed>, io::Error, Response = Collected>,
{
    let (response, end) = exchange.collect(Ok(response), LIMIT).await;
    (response.unwrap(), end)
}

fn keep<X, B>(exchange: &X, response: &Response<CollectedBody<B>>) -> Option<X::Shared>
where
    B: Body,
    X: ShareResponse<Response<B>, io::Error, Response = Response<CollectedBody<B>>>,
{
    exchange.share(response)
}

fn again<X>(exchange: &X, response: &Collected) -> Option<Collected>
where
    X: ShareResponse<Response<Streamed>, io::Error, Response = Collected>,
{
    keep(exchange, response).map(|kept| exchange.copy(&kept))
}

async fn read(response: Collected) -> (Bytes, Option<HeaderMap>) {
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    (collected.to_bytes(), trailers)
}

fn trailers(name: &'static str) -> io::Result<Frame<Bytes>> {
    let trailers = HeaderMap::from_iter([(name.parse().unwrap(), "0".parse().unwrap())]);
    Ok(Frame::trailers(trailers))
}

#[tokio::test]
async fn a_body_within_the_limit_is_shared() {
    let body = Streamed::of(&["hello ", "bob."]).then(trailers("checksum"));
    let mut response = Response::new(body);
    response.headers_mut().insert("x-a", "1".parse().unwrap());
    let (first, end) = collect(&http(), response).await;
    assert_eq!(
        (end.outcome(), end.status()),
        (Outcome::Success, Some(Status::Http(200)))
    );
    let copy = again(&http(), &first).unwrap();
    assert_eq!(copy.headers()["x-a"], "1");
    for response in [first, copy] {
        assert_eq!(response.body().size_hint().exact(), Some(10));
        let (body, trailers) = read(response).await;
        assert_eq!(body, "hello bob.");
        assert_eq!(trailers.unwrap()["checksum"], "0");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_returned_whole_and_not_shared() {
    let body = Streamed::of(&["hello ", "world", "!"]).then(trailers("checksum"));
    let (response, _) = collect(&http(), Response::new(body)).await;
    assert!(again(&http(), &response).is_none());
    let (body, trailers) = read(response).await;
    assert_eq!(body, "hello world!");
    assert!(trailers.is_some());
}

/// A body that declares to be too long is returned unread.
#[tokio::test]
async fn a_body_that_declares_too_much_is_not_read() {
    let body = Full::new(Bytes::from_static(b"hello world"));
    let exchange = http();
    let result: Result<_, io::Error> = Ok(Response::new(body));
    let (response, _) = exchange.collect(result, LIMIT).await;
    let response = response.unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(11));
    assert!(keep(&exchange, &response).is_none());
}

#[tokio::test]
async fn a_failed_body_fails_for_its_own_caller_only() {
    let body = Streamed::of(&["hello "]).then(Err(io::Error::other("reset")));
    let (response, end) = collect(&http(), Response::new(body)).await;
    assert_eq!(
        (end.outcome(), end.head_outcome()),
        (Outcome::Failure, Some(Outcome::Success))
    );
    assert!(again(&http(), &response).is_none());
    let mut body = response.into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "hello "
    );
    assert!(!body.is_end_stream());
    assert_eq!(
        body.frame().await.unwrap().unwrap_err().to_string(),
        "reset"
    );
    assert!(body.frame().await.is_none());
}

/// Such a body is incomplete, and so would be each copy.
#[tokio::test]
async fn a_body_of_another_length_than_declared_is_not_shared() {
    for (length, is_shared) in [("4", false), ("5", true), ("6", false), ("100", false)] {
        for body in [
            Streamed::of(&["hel", "lo"]),
            Streamed::of(&["hello"]).then(trailers("checksum")),
        ] {
            let mut response = Response::new(body);
            let value = length.parse().unwrap();
            response.headers_mut().insert("content-length", value);
            let (response, end) = collect(&http(), response).await;
            assert_eq!(again(&http(), &response).is_some(), is_shared, "{length}");
            assert_eq!(end.outcome() == Outcome::Success, is_shared, "{length}");
            assert_eq!(end.head_outcome(), Some(Outcome::Success));
            assert_eq!(response.body().size_hint().exact().is_some(), is_shared);
            assert_eq!(read(response).await.0, "hello");
        }
    }
}

/// The response to a HEAD declares the length of the response to a GET.
#[tokio::test]
async fn the_response_to_a_head_is_complete_without_a_body() {
    let head = Request::head("/").body(()).unwrap();
    let exchange = Http::new().open(&head, ProtocolKind::Http);
    for body in [Streamed::of(&[]), Streamed::of(&["made for a GET"])] {
        let mut response = Response::new(body);
        let length = "14".parse().unwrap();
        response.headers_mut().insert("content-length", length);
        let result: io::Result<_> = Ok(response);
        let (response, end) = exchange.collect(result, 100).await;
        assert_eq!(end.outcome(), Outcome::Success);
        assert!(keep(&exchange, &response.unwrap()).is_some());
    }
}

/// A body may be ready with any number of empty frames.
#[test]
fn other_tasks_run_while_a_body_is_read() {
    let empty = (0..1000).map(|_| Ok(Frame::data(Bytes::new())));
    let body = Streamed(empty.collect()).then(Ok(Frame::data("hello".into())));
    let result: io::Result<_> = Ok(Response::new(body));
    let mut collect = Task::new(http().collect(result, LIMIT));
    let mut polls = 1;
    while collect.poll().is_pending() {
        assert_eq!(collect.take_wakes(), 1, "it asks to be polled again");
        polls += 1;
    }
    assert!((30..=40).contains(&polls), "{polls}");
}

#[tokio::test]
async fn responses_that_forbid_sharing_are_not_shared() {
    let table = [
        ("cache-control", "no-store", false),
        ("cache-control", "max-age=60, Private", false),
        ("cache-control", "private=\"x-a\"", false),
        ("cache-control", "no-cache", false),
        ("cache-control", "é", false),
        ("cache-control", "public, max-age=60", true),
        ("set-cookie", "id=7", false),
        ("vary", "*", false),
        ("vary", "Accept, User-Agent", false),
        ("vary", "authorization", false),
        ("vary", "Accept-Encoding, origin", true),
        ("content-type", "text/event-stream; charset=utf-8", false),
        ("content-type", "text/plain", true),
    ];
    for (name, value, is_shared) in table {
        let mut response = Response::new(Streamed::of(&["hello"]));
        // More than one field of a name count as one.
        response
            .headers_mut()
            .append("cache-control", "public".parse().unwrap());
        let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
        response.headers_mut().append(name, value.clone());
        let (response, _) = collect(&http(), response).await;
        assert_eq!(
            again(&http(), &response).is_some(),
            is_shared,
            "{name}: {value:?}"
        );
        assert_eq!(read(response).await.0, "hello");
    }
}

#[tokio::test]
async fn temporary_responses_are_not_shared() {
    for status in [101, 206, 302, 303, 304, 307] {
        let mut response = Response::new(Streamed::of(&["hello"]));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let (response, _) = collect(&http(), response).await;
        assert!(again(&http(), &response).is_none(), "{status}");
    }
    for status in [200, 204, 301, 308, 404, 410] {
        let mut response = Response::new(Streamed::of(&["hello"]));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let (response, _) = collect(&http(), response).await;
        assert!(again(&http(), &response).is_some(), "{status}");
    }
}

#[tokio::test]
async fn extensions_are_not_shared() {
    let mut response = Response::new(Streamed::of(&["no"]));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let rejection = Rejection::new(RejectionReason::RateLimited, "test");
    response.extensions_mut().insert(rejection);
    let (response, end) = collect(&http(), response).await;
    assert_eq!(end.rejection_reason(), Some(RejectionReason::RateLimited));
    assert!(response.extensions().get::<Rejection>().is_some());
    let copy = again(&http(), &response).unwrap();
    assert!(copy.extensions().is_empty());
}

#[tokio::test]
async fn the_outcome_of_a_grpc_response_is_that_of_its_trailers() {
    let body = || Streamed::of(&["hello"]);
    let of = async |body| collect(&grpc(), Response::new(body)).await;
    let (response, end) = of(body().then(trailers("grpc-status"))).await;
    assert_eq!(
        (end.outcome(), end.status()),
        (Outcome::Success, Some(Status::Grpc(0)))
    );
    let (_, trailers) = read(again(&grpc(), &response).unwrap()).await;
    assert_eq!(trailers.unwrap()["grpc-status"], "0");
    let (_, end) = of(body()).await;
    assert_eq!(
        (end.outcome(), end.status()),
        (Outcome::Failure, Some(Status::Grpc(2)))
    );
}

#[tokio::test]
async fn a_shared_response_has_a_size() {
    let of = async |body| {
        let (response, _) = collect(&http(), Response::new(Streamed::of(&[body]))).await;
        keep(&http(), &response).unwrap().size()
    };
    assert_eq!(of("0123456789").await, of("").await + 10);
}

fn key(method: Method, uri: &str, fields: &[(&str, &str)]) -> Option<RequestKey> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    RequestKey::of(&request.body(Empty::<Bytes>::new()).unwrap())
}

#[test]
fn requests_with_different_responses_have_different_keys() {
    let get = |uri, fields| key(Method::GET, uri, fields).unwrap();
    let keys = [
        get("/a", &[]),
        key(Method::HEAD, "/a", &[]).unwrap(),
        get("/a?", &[]),
        get("/a?b=1", &[]),
        get("/b", &[]),
        get("http://x/a", &[]),
        get("https://x/a", &[]),
        get("/a", &[("host", "x")]),
        get("/a", &[("host", "y")]),
        get("/a", &[("accept", "x")]),
        get("/a", &[("accept-encoding", "x")]),
        get("/a", &[("accept-language", "x")]),
        get("/a", &[("origin", "x")]),
        get("/a", &[("x-forwarded-host", "evil")]),
        get("/a", &[("forwarded", "host=evil")]),
        get("/a", &[("x-original-url", "/b")]),
        get("/a", &[("x-http-method-override", "DELETE")]),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(key), "{at}");
    }
    assert_eq!(get("/a", &[("user-agent", "x")]), get("/a", &[]));
    assert_eq!(get("http://x/a", &[("host", "y")]), get("http://x/a", &[]));
}

#[test]
fn requests_for_personal_responses_have_no_key() {
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        assert_eq!(key(method, "/", &[]), None);
    }
    for name in [
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-api-key",
        "range",
        "if-none-match",
        "upgrade",
    ] {
        assert_eq!(key(Method::GET, "/", &[(name, "x")]), None, "{name}");
    }
    let with_body = Request::new(Full::new(Bytes::from_static(b"query")));
    assert_eq!(RequestKey::of(&with_body), None);
}

#[test]
fn credentials_can_be_ignored() {
    let request = |name| {
        let request = Request::builder().uri("/").header(name, "x");
        request.body(Empty::<Bytes>::new()).unwrap()
    };
    let anonymous = RequestKey::of(&request("user-agent"));
    assert!(anonymous.is_some());
    assert_eq!(RequestKey::for_anyone(&request("authorization")), anonymous);
    assert_eq!(RequestKey::for_anyone(&request("range")), None);
    assert_eq!(format!("{:?}", anonymous.unwrap()), "RequestKey { .. }");
}
