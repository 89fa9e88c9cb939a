//! Handlers: go-kit's cases, bodies, and readiness.

use std::{
    collections::HashMap,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::{Service, ServiceBuilder, ServiceExt};
use towerkit_concurrency::ConcurrencyLimitLayer;
use towerkit_core::{BoxError, ErrorCode, Outcome, Rejection, RejectionReason, Status, observe};
use towerkit_endpoint::{IntoRpcError, RpcError, RpcExt, call_fn, endpoint_fn};
use towerkit_http::HttpExt;
use towerkit_test::{Action, Probe};
use towerkit_transport_http::{Json, ResponseBody, serve};

use crate::wire::{Dropped, Recorder, block_on, call, post};

type Served = Result<Response<ResponseBody>, RpcError>;

fn text(status: u16, text: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

async fn double((): (), n: u32) -> Result<Value, RpcError> {
    Ok(json!({ "v": 2 * n }))
}

/// GK-HS-5
#[tokio::test]
async fn a_request_is_decoded_and_its_response_encoded() {
    let answer = call(serve("double", Json, endpoint_fn((), double)), post("4")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json(), json!({ "v": 8 }));
}

/// GK-HS-1, GK-HS-2, GK-HS-3: an error of the request is the caller's here.
#[tokio::test]
async fn an_error_of_decoding_is_400_and_one_of_the_endpoint_or_of_encoding_500() {
    let decoding = serve("double", Json, endpoint_fn((), double));
    assert_eq!(call(decoding, post("four")).await.status, 400);

    let failing = endpoint_fn((), |(), ()| async { Err::<(), _>(BoxError::from("dang")) });
    let answer = call(serve("fail", Json, failing), post("")).await;
    assert_eq!(answer.status, 500);

    let encode = |_: Value| -> Served { Err(RpcError::internal().with_source("dang")) };
    let encoding = serve("double", (Json, encode), endpoint_fn((), double));
    let answer = call(encoding, post("4")).await;
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("dang"));
}

/// GK-HS-4
#[tokio::test]
async fn an_own_encoder_of_errors_is_obeyed() {
    let teapot = |error: &RpcError| match error.message() == "teapot" {
        true => text(418, "short and stout"),
        false => text(500, "no teapot"),
    };
    let brew = |(), drink: String| async move {
        Err::<(), _>(RpcError::new(ErrorCode::InvalidArgument, drink))
    };
    let handler = serve("brew", Json, endpoint_fn((), brew)).errors(teapot);
    assert_eq!(call(handler.clone(), post(r#""teapot""#)).await.status, 418);
    assert_eq!(call(handler, post(r#""coffee""#)).await.status, 500);
}

/// GK-HS-6, GK-HS-13
#[tokio::test]
async fn values_that_are_set_before_the_handler_reach_the_endpoint_in_order() {
    #[derive(Clone)]
    struct First(&'static str);
    #[derive(Clone)]
    struct Second(String);

    let endpoint = call_fn(
        (),
        |(), request: towerkit_endpoint::Request<()>| async move {
            let first: &First = request.extensions.get().unwrap();
            let second: &Second = request.extensions.get().unwrap();
            Ok::<_, RpcError>(format!("{} {}", first.0, second.0))
        },
    );
    let handler = ServiceBuilder::new()
        .map_request(|mut request: Request<Full<Bytes>>| {
            request.extensions_mut().insert(First("one"));
            request
        })
        .map_request(|mut request: Request<Full<Bytes>>| {
            let first: &First = request.extensions().get().unwrap();
            let second = Second(format!("two after {}", first.0));
            request.extensions_mut().insert(second);
            request
        })
        .service(serve("context", Json, endpoint));
    let answer = call(handler, post("")).await;
    assert_eq!(answer.text(), r#""one two after one""#);
}

/// GK-HS-7, GK-HS-14: go-kit's `ServerAfter` is `map_response`, innermost first.
#[tokio::test]
async fn headers_that_are_set_after_the_handler_are_on_the_response() {
    let add = |name: &'static str| {
        move |mut response: Response<ResponseBody>| {
            let set = response.headers().len();
            response.headers_mut().insert(name, set.into());
            response
        }
    };
    let handler = ServiceBuilder::new()
        .map_response(add("x-outer"))
        .map_response(add("x-inner"))
        .service(serve("double", Json, endpoint_fn((), double)));
    let answer = call(handler, post("4")).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-inner"), Some("1"));
    assert_eq!(answer.header("x-outer"), Some("2"));
}

/// GK-HS-8: go-kit's `ServerFinalizer` is an observer.
#[tokio::test]
async fn an_observer_around_the_handler_sees_the_status_that_the_encoder_set() {
    let encode = |(): ()| -> Served {
        let mut response = text(418, "go eat a fly ugly\n");
        let lizard = "Helllo you stinky lizard".parse().unwrap();
        response.headers_mut().insert("x-henlo-lizer", lizard);
        Ok(response)
    };
    let recorder = Recorder::default();
    let endpoint = endpoint_fn((), |(), ()| async { Ok::<_, RpcError>(()) });
    let handler = ServiceBuilder::new()
        .layer(observe(recorder.clone()).http())
        .service(serve("lizard", (Json, encode), endpoint));
    let answer = call(handler, post("")).await;
    assert_eq!(answer.status, 418);
    assert_eq!(
        answer.header("x-henlo-lizer"),
        Some("Helllo you stinky lizard")
    );
    assert_eq!(answer.text(), "go eat a fly ugly\n");
    let end = recorder.only();
    assert_eq!(end.status(), Some(Status::Http(418)));
    assert_eq!(end.outcome(), Outcome::ClientError);
}

/// GK-HS-9, GK-HS-10
#[tokio::test]
async fn an_encoder_sets_the_status_and_headers_with_several_values() {
    fn vary(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
        for value in ["Origin", "User-Agent"] {
            response
                .headers_mut()
                .append("vary", value.parse().unwrap());
        }
        response
    }
    let encode = |(): ()| -> Served {
        let mut response = vary(text(402, r#"{"foo":"bar"}"#));
        response
            .headers_mut()
            .insert("x-edward", "Snowden".parse().unwrap());
        Ok(response)
    };
    let endpoint = |(), fail: bool| async move {
        match fail {
            true => Err(RpcError::internal()),
            false => Ok(()),
        }
    };
    let handler = serve("pay", (Json, encode), endpoint_fn((), endpoint));
    let handler = handler.errors(|error| vary(towerkit_transport_http::problem(error)));
    for (fail, status) in [("false", 402), ("true", 500)] {
        let answer = call(handler.clone(), post(fail)).await;
        assert_eq!(answer.status, status);
        let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
        assert_eq!(vary, ["Origin", "User-Agent"]);
        assert_eq!(answer.header("x-edward").is_some(), status == 402);
    }
}

/// GK-HS-11, HT-14
#[tokio::test]
async fn a_status_without_content_has_no_body() {
    for status in [204, 205, 304] {
        let encode = move |(): ()| -> Served { Ok(text(status, "must not be sent")) };
        let endpoint = endpoint_fn((), |(), ()| async { Ok::<_, RpcError>(()) });
        let answer = call(serve("empty", (Json, encode), endpoint), post("")).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.body, "");
        assert_eq!(answer.header("content-length"), None);
    }
}

/// GK-HS-12
#[tokio::test]
async fn an_own_encoder_of_errors_sets_status_headers_and_json() {
    let encode = |error: &RpcError| {
        let json = json!({ "err": error.message() }).to_string();
        let mut response = text(418, "").map(|_| ResponseBody::from(Bytes::from(json)));
        let headers = response.headers_mut();
        headers.insert("x-enhanced", "1".parse().unwrap());
        headers.insert("content-type", "application/json".parse().unwrap());
        response
    };
    let endpoint = endpoint_fn((), |(), ()| async {
        Err::<(), _>(RpcError::new(ErrorCode::Unknown, "enhanced"))
    });
    let answer = call(serve("fail", Json, endpoint).errors(encode), post("")).await;
    assert_eq!(answer.status, 418);
    assert_eq!(answer.header("x-enhanced"), Some("1"));
    assert_eq!(answer.text(), r#"{"err":"enhanced"}"#);
}

/// GK-HS-15
#[tokio::test]
async fn a_decoder_sees_the_head_of_the_request() {
    type Head = (String, String, String, String);
    let decode = |head: &request::Parts, _: Bytes| -> Result<Head, RpcError> {
        let id = head.headers["x-request-id"].to_str().unwrap().to_owned();
        let uri = head.uri.path_and_query().unwrap().to_string();
        let path = head.uri.path().to_owned();
        Ok((head.method.to_string(), path, uri, id))
    };
    let endpoint = endpoint_fn((), |(), head: Head| async { Ok::<_, RpcError>(head) });
    let request = Request::patch("http://example.com/search?q=sympatico")
        .header("x-request-id", "a1b2c3d4e5")
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = call(serve("head", (decode, Json), endpoint), request).await;
    assert_eq!(
        answer.json(),
        json!(["PATCH", "/search", "/search?q=sympatico", "a1b2c3d4e5"])
    );
}

/// GK-HS-17, GK-HS-18, HT-09, FIX-2
#[tokio::test]
async fn a_response_that_cannot_be_encoded_is_a_clean_500() {
    // JSON has no keys that are no strings; the serializer finds out in the middle.
    let table = endpoint_fn((), |(), ()| async {
        let rows = HashMap::from([((1, 2), 3)]);
        Ok::<_, RpcError>((vec!["partial"; 100], rows))
    });
    let answer = call(serve("table", Json, table), post("")).await;
    assert_eq!(answer.status, 500);
    let expected = json!({
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "internal error",
        "code": "internal",
    });
    assert_eq!(answer.json(), expected);
}

/// FIX-21
#[tokio::test]
async fn a_method_that_is_not_allowed_is_405_with_allow() {
    let handler = |method| serve("double", Json, endpoint_fn((), double)).method(method);
    let by = |method: Method| {
        let mut request = post("4");
        *request.method_mut() = method;
        request
    };
    let answer = call(handler(Method::POST), by(Method::GET)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("allow")),
        (405, Some("POST"))
    );
    let answer = call(handler(Method::GET), by(Method::POST)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("allow")),
        (405, Some("GET, HEAD"))
    );
    let answer = call(handler(Method::GET), by(Method::HEAD)).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b""[..]));
    assert_eq!(answer.header("content-length"), Some("7"));
    let purge = Method::from_bytes(b"PURGE").unwrap();
    let answer = call(handler(purge.clone()), by(Method::GET)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("allow")),
        (405, Some("PURGE"))
    );
    assert_eq!(call(handler(purge.clone()), by(purge)).await.status, 200);
}

/// HT-14
#[tokio::test]
async fn a_response_to_head_has_its_length_and_no_body_also_if_it_is_an_error() {
    let handler = serve("double", Json, endpoint_fn((), double));
    for (body, status) in [("4", 200), ("four", 400)] {
        let with_body = call(handler.clone(), post(body)).await;
        let mut head = post(body);
        *head.method_mut() = Method::HEAD;
        let answer = call(handler.clone(), head).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (status, &b""[..]));
        let length = with_body.body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(&*length));
    }
}

/// Makes a request with these frames as its body.
fn streamed(
    frames: Vec<Result<Frame<Bytes>, BoxError>>,
) -> Request<StreamBody<impl stream::Stream<Item = Result<Frame<Bytes>, BoxError>>>> {
    Request::post("/")
        .body(StreamBody::new(stream::iter(frames)))
        .unwrap()
}

fn data(text: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from(text)))
}

/// HT-14
#[tokio::test]
async fn frames_are_joined_and_empty_ones_and_trailers_ignored() {
    let mut frames = vec![data("1")];
    frames.extend((0..100_000).map(|_| data("")));
    frames.push(data("2"));
    let trailers = HeaderMap::from_iter([(http::header::EXPIRES, "0".parse().unwrap())]);
    frames.push(Ok(Frame::trailers(trailers)));
    let handler = serve("double", Json, endpoint_fn((), double));
    let answer = call(handler, streamed(frames)).await;
    assert_eq!(answer.json(), json!({ "v": 24 }));
}

#[tokio::test]
async fn the_error_of_a_body_tells_its_kind_and_no_more() {
    let broken = |error: BoxError| streamed(vec![data("4"), Err(error)]);
    let late = io::Error::new(io::ErrorKind::TimedOut, "secret");
    let early = io::Error::new(io::ErrorKind::UnexpectedEof, "secret");
    let rejection = Rejection::new(RejectionReason::DeadlineExceeded, "secret");
    let table: [(BoxError, _); 4] = [
        (late.into(), 408),
        (early.into(), 400),
        ("secret".into(), 400),
        (rejection.into(), 504),
    ];
    for (error, status) in table {
        let handler = serve("double", Json, endpoint_fn((), double));
        let answer = call(handler, broken(error)).await;
        assert_eq!(answer.status, status);
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
}

/// HT-03
#[tokio::test]
async fn a_body_over_the_limit_is_413_with_and_without_a_length() {
    let echo = endpoint_fn(
        (),
        |(), text: String| async move { Ok::<_, RpcError>(text) },
    );
    let handler = serve("echo", Json, echo).body_limit(6);
    assert_eq!(call(handler.clone(), post(r#""1234""#)).await.status, 200);
    let answer = call(handler.clone(), post(r#""12345""#)).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.json()["code"], "invalid_argument");
    let chunked = |last| streamed(vec![data(r#""12"#), data("34"), data(last)]);
    assert_eq!(call(handler.clone(), chunked("\"")).await.status, 200);
    assert_eq!(call(handler.clone(), chunked("5\"")).await.status, 413);
    // An endless body is not read to its end.
    let endless = stream::repeat_with(|| data("    "));
    let endless = Request::post("/").body(StreamBody::new(endless)).unwrap();
    assert_eq!(call(handler, endless).await.status, 413);
}

/// HT-03
#[test]
fn a_gzip_bomb_is_413_and_takes_little_memory() {
    use std::io::Write;

    const SIZE: usize = 64 * 1024 * 1024;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        bomb.write_all(&[b' '; SIZE / 64]).unwrap();
    }
    let bomb = Bytes::from(bomb.finish().unwrap());
    assert!(bomb.len() < SIZE / 900);
    let handler = ServiceBuilder::new()
        .layer(tower_http::decompression::RequestDecompressionLayer::new())
        .map_err(|error: std::convert::Infallible| match error {})
        .service(serve("double", Json, endpoint_fn((), double)));
    let mut request = post(bomb);
    let gzip = "gzip".parse().unwrap();
    request.headers_mut().insert("content-encoding", gzip);
    let mut status = None;
    let memory = allocation_counter::measure(|| {
        let response = futures_util::FutureExt::map(
            tower::ServiceExt::oneshot(handler, request),
            |response: Result<Response<_>, std::convert::Infallible>| response.unwrap().status(),
        );
        status = Some(block_on(response));
    });
    assert_eq!(status.unwrap(), 413);
    assert!(memory.bytes_max < 4 * 1024 * 1024, "{memory:?}");
}

#[tokio::test]
async fn gzip_that_is_corrupt_or_ends_early_is_400() {
    use std::io::Write;

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(b"4").unwrap();
    let good = gzip.finish().unwrap();
    let mut corrupt = good.clone();
    corrupt[12] ^= 0xff;
    let early = good[..good.len() - 9].to_vec();
    for (body, status) in [(good, 200), (corrupt, 400), (early, 400)] {
        let handler = ServiceBuilder::new()
            .layer(tower_http::decompression::RequestDecompressionLayer::new())
            .service(serve("double", Json, endpoint_fn((), double)));
        let mut request = post(body);
        let gzip = "gzip".parse().unwrap();
        request.headers_mut().insert("content-encoding", gzip);
        assert_eq!(call(handler, request).await.status, status);
    }
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only decoded")]
struct Nested {
    id: u64,
    name: Option<String>,
    parts: Vec<Nested>,
    rates: HashMap<String, f64>,
}

proptest! {
    #[test]
    fn any_body_is_answered_with_200_or_400(
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100),
            r#"[\[\]{}":,0-9a-z\\ .e+-]{0,60}"#.prop_map(String::into_bytes),
            (0_usize..3000).prop_map(|depth| b"{\"id\":1,\"rates\":{},\"parts\":[".repeat(depth)),
        ],
    ) {
        let endpoint = endpoint_fn((), |(), _: Nested| async { Ok::<_, RpcError>(()) });
        let answer = block_on(call(serve("any", Json, endpoint), post(body)));
        prop_assert!([200, 400].contains(&answer.status.as_u16()));
    }
}

/// Decodes the action of a probe from the extensions.
fn action(head: &request::Parts, _body: Bytes) -> Result<Action, RpcError> {
    Ok(*head.extensions.get().expect("each request has an action"))
}

fn done(_: Action) -> Served {
    Ok(text(200, "done"))
}

/// T-01
#[tokio::test(start_paused = true)]
async fn a_slow_body_holds_no_permit_and_the_endpoint_is_called_when_ready() {
    let limit = ConcurrencyLimitLayer::new(1).unwrap();
    let handle = limit.handle();
    let probe = Probe::ready_after(Duration::from_secs(1));
    let counts = probe.counts();
    let endpoint = ServiceBuilder::new().layer(limit.rpc()).service(probe);
    let handler = serve("probe", (action, done), endpoint);

    let (sender, mut frames) = tokio::sync::mpsc::unbounded_channel();
    let frames = stream::poll_fn(move |cx| frames.poll_recv(cx).map(|frame| frame.map(Ok)));
    let body = StreamBody::new(frames.map(|frame: Result<_, BoxError>| frame));
    let mut request = Request::new(body);
    request
        .extensions_mut()
        .insert(Action::Sleep(Duration::from_secs(1)));
    let mut slow = pin!(handler.clone().oneshot(request));
    let mut cx = Context::from_waker(Waker::noop());
    sender.send(Frame::data(Bytes::from("part"))).unwrap();
    assert!(slow.as_mut().poll(&mut cx).is_pending());
    assert_eq!((handle.snapshot().in_flight, counts.polls()), (0, 0));

    let mut other = post("");
    other.extensions_mut().insert(Action::Succeed);
    assert_eq!(call(handler.clone(), other).await.status, 200);

    drop(sender);
    assert!(slow.as_mut().poll(&mut cx).is_pending());
    let Ok(response) = slow.await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        (counts.finished(), counts.violations(), counts.in_flight()),
        (2, 0, 0)
    );
    assert_eq!(handle.snapshot().in_flight, 0);
}

#[tokio::test]
async fn an_error_of_readiness_is_answered_by_its_code() {
    let handler = serve("probe", (action, done), Probe::never_ready());
    let mut request = post("");
    request.extensions_mut().insert(Action::Succeed);
    let answer = call(handler, request).await;
    assert_eq!(answer.status, 503);
}

/// T-03: the body, the endpoint and its permit.
#[test]
fn a_call_that_is_dropped_at_any_poll_releases_all() {
    let limit = ConcurrencyLimitLayer::new(1).unwrap();
    let handle = limit.handle();
    let probe = Probe::new();
    let counts = probe.counts();
    let endpoint = ServiceBuilder::new().layer(limit.rpc()).service(probe);
    let handler = serve("probe", (action, done), endpoint);
    let mut cx = Context::from_waker(Waker::noop());
    for polls in 0.. {
        let bodies = Dropped::default();
        let guard = bodies.guard();
        let mut pending = false;
        let mut left = 3;
        let frames = stream::poll_fn(move |_| {
            let _held = &guard;
            pending = !pending;
            if pending {
                return Poll::Pending;
            }
            left -= 1;
            Poll::Ready((left >= 0).then(|| data("x")))
        });
        let mut request = Request::new(StreamBody::new(frames));
        request.extensions_mut().insert(Action::Pend(3));
        let mut response = Box::pin(handler.clone().call(request));
        let mut ended = false;
        for _ in 0..polls {
            ended = response.as_mut().poll(&mut cx).is_ready();
        }
        drop(response);
        assert_eq!(bodies.count(), 1);
        assert_eq!((handle.snapshot().in_flight, counts.in_flight()), (0, 0));
        assert_eq!((counts.reserved(), counts.violations()), (0, 0));
        if ended {
            assert!(polls > 5 && counts.finished() == 1);
            return;
        }
    }
}

/// HT-08, at the boundary of the service: the function that makes the endpoint's future is called once, its future dropped once.
#[tokio::test]
async fn the_endpoint_is_called_once_for_each_request() {
    let calls = Arc::new(AtomicU32::new(0));
    let endpoint = endpoint_fn(calls.clone(), |calls, ()| async move {
        Ok::<_, RpcError>(calls.fetch_add(1, Ordering::Relaxed) + 1)
    });
    let handler = serve("count", Json, endpoint);
    for expected in ["1", "2"] {
        assert_eq!(call(handler.clone(), post("")).await.text(), expected);
    }
}

#[tokio::test]
async fn a_stream_is_passed_on_as_the_body() {
    let encode = |(): ()| -> Served {
        let frames = stream::iter([data("one "), data("two")]);
        Ok(Response::new(ResponseBody::new(StreamBody::new(frames))))
    };
    let endpoint = endpoint_fn((), |(), ()| async { Ok::<_, RpcError>(()) });
    let handler = serve("stream", (Json, encode), endpoint);
    assert_eq!(call(handler.clone(), post("")).await.text(), "one two");
    let mut head = post("");
    *head.method_mut() = Method::HEAD;
    let answer = call(handler, head).await;
    assert_eq!((answer.text(), answer.header("content-length")), ("", None));
}

#[tokio::test]
async fn the_error_of_a_stream_reaches_the_server() {
    let encode = |(): ()| -> Served {
        let frames = stream::iter([data("one "), Err("broken".into())]);
        Ok(Response::new(ResponseBody::new(StreamBody::new(frames))))
    };
    let endpoint = endpoint_fn((), |(), ()| async { Ok::<_, RpcError>(()) });
    let mut handler = serve("stream", (Json, encode), endpoint);
    let Ok(response) = handler.call(post("")).await;
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(error.to_string(), "broken");
}
