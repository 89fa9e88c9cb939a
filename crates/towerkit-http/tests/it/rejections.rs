//! The responses to rejected calls: for any method and version of HTTP, as policies and clients see them.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{client, server};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_core::{
    Call, CallEnd, Guard, Headers, Observer, Policy, Rejection, RejectionReason, guard, observe,
    stack,
};
use towerkit_http::HttpExt;

/// Rejects every call.
#[derive(Clone)]
struct Rejects(Rejection);

impl Policy for Rejects {
    type CallState = ();
    const NEEDS_END: bool = false;
    fn finish(&self, _state: (), _end: &CallEnd) {}
}

impl<Req> Guard<Req> for Rejects {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        Err(self.0.clone())
    }
}

#[derive(Default)]
struct Ends(Mutex<Vec<CallEnd>>);

impl Policy for Ends {
    type CallState = ();
    fn finish(&self, _state: (), end: &CallEnd) {
        self.0.lock().unwrap().push(end.clone());
    }
}

impl<Req> Observer<Req> for Ends {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

type EmptyResponse = Response<Full<Bytes>>;

async fn never(_request: Request<Empty<Bytes>>) -> Result<EmptyResponse, Infallible> {
    panic!("a rejected call never reaches the service");
}

fn request(method: Method) -> Request<Empty<Bytes>> {
    let request = Request::builder().method(method).uri("http://localhost/");
    request.body(Empty::new()).unwrap()
}

async fn rejected(
    rejection: Rejection,
    request: Request<Empty<Bytes>>,
) -> Response<impl http_body::Body<Data = Bytes, Error = Infallible>> {
    let service = guard(Rejects(rejection)).http().layer(service_fn(never));
    service.oneshot(request).await.unwrap()
}

fn rejection(reason: RejectionReason) -> Rejection {
    Rejection::new(reason, "test")
}

/// Over HTTP/2 a body in the response to a HEAD breaks the stream and, with some clients, the connection.
#[tokio::test]
async fn a_rejected_head_leaves_the_http_2_connection_usable() {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let rejects = guard(Rejects(rejection(RejectionReason::Overloaded))).http();
    let service = rejects.layer(service_fn(async |_: Request<hyper::body::Incoming>| {
        Ok::<_, Infallible>(EmptyResponse::default())
    }));
    let server = server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(ours), TowerToHyperService::new(service));
    tokio::spawn(server);
    let (mut client, connection) =
        client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(theirs))
            .await
            .unwrap();
    tokio::spawn(connection);

    let mut lengths = Vec::new();
    for method in [Method::HEAD, Method::GET, Method::HEAD, Method::POST] {
        client.ready().await.unwrap();
        let response = client.send_request(request(method.clone())).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        lengths.push(response.headers()["content-length"].clone());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.is_empty(), method == Method::HEAD, "{method}");
    }
    lengths.dedup();
    assert_eq!(lengths.len(), 1, "a HEAD declares the length of a GET");
}

#[tokio::test]
async fn every_rejection_of_a_head_has_no_body() {
    for reason in RejectionReason::ALL {
        let response = rejected(rejection(reason), request(Method::HEAD)).await;
        assert!(http_body::Body::is_end_stream(response.body()));
        let head = response.headers().clone();
        let response = rejected(rejection(reason), request(Method::GET)).await;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(head["content-length"], body.len().to_string());
    }
}

/// RFC 9110, section 15.5.2.
#[tokio::test]
async fn a_401_has_a_challenge() {
    let challenges = async |rejection| {
        let response = rejected(rejection, request(Method::GET)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let challenges = response.headers().get_all("www-authenticate");
        let challenges = challenges
            .iter()
            .map(|value| value.to_str().unwrap().to_owned());
        challenges.collect::<Vec<_>>()
    };
    let bare = || rejection(RejectionReason::Unauthenticated);
    assert_eq!(challenges(bare()).await, ["Bearer"]);
    let basic = r#"Basic realm="shop""#;
    let digest = r#"Digest realm="shop", nonce="7""#;
    assert_eq!(challenges(bare().with_challenge(basic)).await, [basic]);
    let both = bare().with_challenge(basic).with_challenge(digest);
    assert_eq!(challenges(both).await, [basic, digest]);
}

/// gRPC parses a signed number of 32 bits, and some clients close the connection on a longer one.
#[tokio::test]
async fn retry_after_is_in_the_range_that_clients_parse() {
    for (wait, seconds, millis) in [
        (Duration::ZERO, "1", "1"),
        (Duration::from_micros(1_500), "1", "2"),
        (
            Duration::from_secs(u32::MAX.into()),
            "2147483647",
            "2147483647",
        ),
        (Duration::MAX, "2147483647", "2147483647"),
    ] {
        let rejection = rejection(RejectionReason::RateLimited).with_retry_after(wait);
        let response = rejected(rejection.clone(), request(Method::GET)).await;
        assert_eq!(response.headers()["retry-after"], seconds);
        let mut request = request(Method::POST);
        let grpc = "application/grpc".parse().unwrap();
        request.headers_mut().insert("content-type", grpc);
        let response = rejected(rejection, request).await;
        assert_eq!(response.headers()["grpc-retry-pushback-ms"], millis);
    }
}

#[tokio::test]
async fn an_observer_in_the_same_stack_sees_the_bytes_of_the_answer() {
    for method in [Method::GET, Method::HEAD] {
        let ends = Arc::new(Ends::default());
        let rejects = guard(Rejects(rejection(RejectionReason::RateLimited)));
        let service = stack((observe(ends.clone()), rejects))
            .http()
            .layer(service_fn(never));
        let response = service.oneshot(request(method)).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let ends = ends.0.lock().unwrap();
        assert_eq!(ends.len(), 1);
        assert_eq!(ends[0].bytes(), body.len() as u64);
    }
}

/// Appends a value to a list header.
struct Adds(&'static str);

impl Policy for Adds {
    type CallState = ();
    fn add_response_headers(&self, _state: &(), headers: &mut dyn Headers) {
        headers.append("ratelimit", &self.0);
    }
    fn finish(&self, _state: (), _end: &CallEnd) {}
}

impl<Req> Observer<Req> for Adds {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

#[tokio::test]
async fn layers_that_append_to_a_list_header_keep_earlier_values() {
    let add = |member| observe(Adds(member));
    let answer =
        service_fn(async |_: Request<Empty<Bytes>>| Ok::<_, Infallible>(EmptyResponse::default()));
    let listed = |response: &http::HeaderMap| {
        let values = response.get_all("ratelimit").iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let service = add("a").http().layer(add("b").http().layer(answer));
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(listed(response.headers()), ["b", "a"]);
    let service = stack((add("a"), add("b"))).http().layer(answer);
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(listed(response.headers()), ["b", "a"]);
}
