//! Coalescing over HTTP and gRPC: bodies are read ahead, and private responses are not shared.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::BoxFuture,
    stream::{Iter, iter},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};
use towerkit_coalesce::{Coalesce, CoalesceLayer};
use towerkit_core::KeyFn;
use towerkit_http::{CollectedBody, Http, HttpExt, RequestKey};
use towerkit_test::run_paused;

type Asked = Request<Empty<Bytes>>;
type Body = StreamBody<Iter<std::array::IntoIter<Result<Frame<Bytes>, Infallible>, 3>>>;
type Answered = Response<CollectedBody<Body>>;
type Keys = KeyFn<fn(&Asked) -> Option<RequestKey>, RequestKey>;

/// Responds after a second with a status, a header, two frames and trailers.
#[derive(Debug, Clone)]
struct Answers {
    calls: Arc<AtomicU64>,
    status: u16,
    field: (&'static str, &'static str),
}

impl Answers {
    fn new(status: u16, field: (&'static str, &'static str)) -> Self {
        Self {
            calls: Arc::default(),
            status,
            field,
        }
    }

    fn good() -> Self {
        Self::new(200, ("x-a", "1"))
    }

    fn response(&self) -> Response<Body> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let body = StreamBody::new(iter([
            Ok(Frame::data(Bytes::from_static(b"hello "))),
            Ok(Frame::data(Bytes::from_static(b"world"))),
            Ok(Frame::trailers(trailers)),
        ]));
        let response = Response::builder().status(self.status);
        response
            .header(self.field.0, self.field.1)
            .body(body)
            .unwrap()
    }
}

impl Service<Asked> for Answers {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Asked) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let response = self.response();
        tokio::time::sleep(Duration::from_secs(1))
            .map(|()| Ok(response))
            .boxed()
    }
}

fn layer() -> CoalesceLayer<Keys> {
    CoalesceLayer::new(RequestKey::of)
}

fn get() -> Asked {
    Request::new(Empty::new())
}

fn with(name: &'static str, value: &'static str) -> Asked {
    let mut request = get();
    let value = HeaderValue::from_static(value);
    request.headers_mut().insert(name, value);
    request
}

/// Calls at the same time, and returns the responses, the number of calls, and the time in seconds.
async fn call_all<P, const N: usize>(
    service: Coalesce<Answers, Keys, P>,
    calls: &AtomicU64,
    requests: [Asked; N],
) -> (Vec<Answered>, u64, u64)
where
    Coalesce<Answers, Keys, P>: Service<Asked, Response = Answered, Error = Infallible> + Clone,
{
    let start = Instant::now();
    let calling = requests.map(|request| service.clone().oneshot(request));
    let responses = futures_util::future::try_join_all(calling).await.unwrap();
    (
        responses,
        calls.load(Ordering::Relaxed),
        start.elapsed().as_secs(),
    )
}

/// Returns the calls that two callers make, and the time in seconds, for a configured response.
fn calls_of_two(
    layer: CoalesceLayer<Keys, Http>,
    answers: Answers,
    request: fn() -> Asked,
) -> (u64, u64) {
    run_paused(async {
        let calls = answers.calls.clone();
        let service = layer.layer(answers);
        let (responses, calls, seconds) = call_all(service, &calls, [request(), request()]).await;
        for response in responses {
            let body = response.into_body().collect().await.unwrap();
            assert!(body.trailers().is_some());
            assert_eq!(body.to_bytes(), "hello world");
        }
        (calls, seconds)
    })
}

#[test]
fn all_callers_get_the_complete_response() {
    run_paused(async {
        let answers = Answers::good();
        let calls = answers.calls.clone();
        let service = layer().http().layer(answers);
        let (responses, calls, seconds) = call_all(service, &calls, [(); 9].map(|()| get())).await;
        assert_eq!((calls, seconds), (1, 1));
        for response in responses {
            assert_eq!(response.headers()["x-a"], "1");
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
            assert_eq!(body.to_bytes(), "hello world");
        }
    });
}

#[test]
fn requests_that_differ_do_not_share() {
    run_paused(async {
        let answers = Answers::good();
        let calls = answers.calls.clone();
        let service = layer().http().layer(answers);
        let mut post = get();
        *post.method_mut() = http::Method::POST;
        let mut head = get();
        *head.method_mut() = http::Method::HEAD;
        let requests = [
            get(),
            post,
            head,
            with("accept", "text/html"),
            with("authorization", "Bearer ann"),
            with("authorization", "Bearer ann"),
            with("cookie", "id=1"),
            get(),
        ];
        let (_, calls, seconds) = call_all(service, &calls, requests).await;
        assert_eq!((calls, seconds), (7, 1));
    });
}

/// The waiters do not wait for another response that they may not share.
#[test]
fn after_a_private_response_the_waiters_call_at_once() {
    for field in [
        ("cache-control", "private"),
        ("cache-control", "no-store"),
        ("set-cookie", "id=1"),
        ("vary", "cookie"),
        ("content-type", "text/event-stream"),
    ] {
        let answers = Answers::new(200, field);
        assert_eq!(
            calls_of_two(layer().http(), answers, get),
            (2, 2),
            "{field:?}"
        );
    }
}

#[test]
fn a_body_over_the_limit_is_for_one_caller() {
    let limited = |bytes| layer().max_body(bytes).unwrap().http();
    assert_eq!(calls_of_two(limited(10), Answers::good(), get), (2, 2));
    assert_eq!(calls_of_two(limited(11), Answers::good(), get), (1, 1));
}

#[test]
fn failures_are_not_shared_and_client_errors_are() {
    for (status, calls) in [(200, 1), (404, 1), (500, 2), (503, 2), (206, 2)] {
        let answers = Answers::new(status, ("x-a", "1"));
        assert_eq!(
            calls_of_two(layer().http(), answers, get).0,
            calls,
            "{status}"
        );
        if status >= 500 {
            let shared = layer().share(|_| true).http();
            let answers = Answers::new(status, ("x-a", "1"));
            assert_eq!(calls_of_two(shared, answers, get).0, 1, "{status}");
        }
    }
}

#[test]
fn callers_with_credentials_share_only_public_responses() {
    let public = CoalesceLayer::new(RequestKey::for_anyone as fn(&Asked) -> _).http();
    let ann = || with("authorization", "Bearer ann");
    assert_eq!(calls_of_two(public, Answers::good(), ann), (1, 1));
}

/// The code is in the trailers, which decide if the call succeeded.
#[test]
fn over_grpc_the_trailers_are_shared() {
    run_paused(async {
        let answers = Answers::new(200, ("content-type", "application/grpc"));
        let calls = answers.calls.clone();
        let service = layer().grpc().layer(answers);
        let (responses, calls, _) = call_all(service, &calls, [get(), get()]).await;
        assert_eq!(calls, 1);
        for response in responses {
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
        }
    });
}

#[test]
fn a_body_that_ends_before_its_declared_length_is_not_shared() {
    run_paused(async {
        for (length, calls) in [("100", 2), ("11", 1)] {
            let answers = Answers::new(200, ("content-length", length));
            let seen = answers.calls.clone();
            let service = layer().http().layer(answers);
            let (_, made, _) = call_all(service, &seen, [get(), get()]).await;
            assert_eq!(made, calls, "{length}");
        }
    });
}
