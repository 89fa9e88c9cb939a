//! Errors: one encoder sees all of them, and outer layers recognise rejections.

use std::{collections::HashMap, io, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, request};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::json;
use tower::{Service, ServiceBuilder};
use towerkit_core::{
    BoxError, ErrorCode, Outcome, Rejection, RejectionReason, Status, guard, observe,
};
use towerkit_endpoint::{EndpointExt, IntoRpcError, RpcError, RpcExt, endpoint_fn};
use towerkit_http::HttpExt;
use towerkit_ratelimit::RateLimitLayer;
use towerkit_transport_http::{Json, ResponseBody, problem, serve};

use crate::wire::{Answer, Recorder, Rejects, call, one_per_hour, post};

pub(crate) type ErrorEncoder = fn(&RpcError) -> Response<ResponseBody>;

/// Encodes errors in another way than `problem`.
pub(crate) fn own(error: &RpcError) -> Response<ResponseBody> {
    let body = json!({ "own": error.message(), "code": error.code().as_str() });
    let body = ResponseBody::from(Bytes::from(body.to_string()));
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::IM_A_TEAPOT;
    response
}

/// Checks that an answer is problem details, or that `own` has made it.
pub(crate) fn check(answer: &Answer, is_own: bool, status: u16, code: &str, what: &str) {
    assert!(
        !answer.text().contains("secret"),
        "{what}: {}",
        answer.text()
    );
    if is_own {
        assert_eq!(answer.status, 418, "{what}");
        assert!(answer.json()["own"].is_string(), "{what}");
        return;
    }
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("application/problem+json"), "{what}");
    let json = answer.json();
    assert_eq!(
        (&json["status"], &json["code"]),
        (&json!(status), &json!(code)),
        "{what}"
    );
}

struct Secret;

#[derive(Debug, serde::Deserialize)]
enum Mistake {
    Own,
    Unknown,
    Panic,
    Encoding,
    PanicInEncoding,
}

async fn make(mistake: Mistake) -> Result<HashMap<(u8, u8), u8>, BoxError> {
    match mistake {
        Mistake::Own => Err(RpcError::new(ErrorCode::NotFound, "no such thing").into()),
        Mistake::Unknown => Err("secret".into()),
        Mistake::Panic => panic!("secret"),
        Mistake::Encoding => Ok(HashMap::from([((1, 2), 3)])),
        Mistake::PanicInEncoding => Ok(HashMap::new()),
    }
}

fn encode(map: HashMap<(u8, u8), u8>) -> Result<Response<ResponseBody>, RpcError> {
    assert!(!map.is_empty(), "secret");
    towerkit_transport_http::EncodeResponse::encode_response(&Json, map)
}

/// HT-10, and the rule that one encoder sees every error.
#[tokio::test]
async fn one_encoder_sees_every_error() {
    for is_own in [false, true] {
        let errors: ErrorEncoder = if is_own { own } else { problem };
        let handler = serve("make", (Json, encode), endpoint_fn((), |(), m| make(m)))
            .method(Method::POST)
            .body_limit(100)
            .errors(errors);
        let table = [
            ("malformed", "{", 400, "invalid_argument"),
            ("not the type", r#""Secret""#, 400, "invalid_argument"),
            ("not a string", "7", 400, "invalid_argument"),
            ("of the endpoint", r#""Own""#, 404, "not_found"),
            ("without a code", r#""Unknown""#, 500, "internal"),
            ("a panic", r#""Panic""#, 500, "internal"),
            ("encoding", r#""Encoding""#, 500, "internal"),
            (
                "a panic in encoding",
                r#""PanicInEncoding""#,
                500,
                "internal",
            ),
        ];
        for (what, body, status, code) in table {
            let answer = call(handler.clone(), post(body)).await;
            check(&answer, is_own, status, code, what);
        }
        let answer = call(handler.clone(), post(vec![b' '; 101])).await;
        check(&answer, is_own, 413, "invalid_argument", "too long");
        let mut get = post("");
        *get.method_mut() = Method::GET;
        let answer = call(handler.clone(), get).await;
        check(&answer, is_own, 405, "invalid_argument", "another method");
        assert_eq!(answer.header("allow"), Some("POST"));
        for (kind, status) in [(io::ErrorKind::TimedOut, 408), (io::ErrorKind::Other, 400)] {
            let error = io::Error::new(kind, "secret");
            let body = StreamBody::new(stream::iter([Err::<Frame<Bytes>, _>(error)]));
            let answer = call(handler.clone(), Request::post("/").body(body).unwrap()).await;
            check(&answer, is_own, status, "invalid_argument", "a broken body");
        }

        let decode =
            |_: &request::Parts, _: Bytes| -> Result<Secret, RpcError> { panic!("secret") };
        let unused = endpoint_fn((), |(), _: Secret| async { Ok::<_, RpcError>(()) });
        let handler = serve("decode", (decode, Json), unused).errors(errors);
        let answer = call(handler, post("")).await;
        check(&answer, is_own, 500, "internal", "a panic in decoding");

        for reason in RejectionReason::ALL {
            let rejection = Rejection::new(reason, "secret");
            let endpoint = ServiceBuilder::new()
                .layer(guard(Rejects(rejection)).rpc())
                .service(endpoint_fn((), |(), ()| async { Ok::<_, RpcError>(()) }));
            let handler = serve("rejected", Json, endpoint).errors(errors);
            let answer = call(handler, post("")).await;
            let code = ErrorCode::from(reason);
            check(
                &answer,
                is_own,
                code.http_status(),
                reason.as_str(),
                reason.as_str(),
            );
        }
    }
}

/// A mistake in the encoder of errors does not lose the response.
#[tokio::test]
async fn an_encoder_of_errors_that_panics_is_answered_with_500() {
    let endpoint = endpoint_fn((), |(), ()| async { Ok::<_, RpcError>(()) });
    let handler = serve("fail", Json, endpoint).errors(|_| panic!("secret"));
    let answer = call(handler, post("{")).await;
    check(&answer, false, 500, "internal", "a panic");
}

/// GK-HS-20, FIX-4, for every code.
#[tokio::test]
async fn every_code_has_its_status() {
    let endpoint = endpoint_fn((), |(), code: u16| async move {
        let code = ErrorCode::from_number(code).unwrap();
        Err::<(), _>(RpcError::new(code, "told to fail").with_retry_after(Duration::from_millis(1)))
    });
    let handler = serve("fail", Json, endpoint);
    for code in ErrorCode::ALL {
        let answer = call(handler.clone(), post(code.number().to_string())).await;
        check(
            &answer,
            false,
            code.http_status(),
            code.as_str(),
            code.as_str(),
        );
        assert_eq!(answer.json()["detail"], "told to fail");
        assert_eq!(answer.header("retry-after"), Some("1"));
        let challenge = (code == ErrorCode::Unauthenticated).then_some("Bearer");
        assert_eq!(answer.header("www-authenticate"), challenge);
    }
}

#[tokio::test]
async fn the_status_of_an_error_may_differ_from_that_of_its_code() {
    let endpoint = endpoint_fn((), |(), status: u16| async move {
        Err::<(), _>(RpcError::new(ErrorCode::NotFound, "gone").with_http_status(status))
    });
    let handler = serve("fail", Json, endpoint);
    for (set, status) in [
        (410, 410),
        (401, 401),
        (599, 599),
        (200, 404),
        (600, 404),
        (0, 404),
    ] {
        let answer = call(handler.clone(), post(set.to_string())).await;
        check(&answer, false, status, "not_found", "a status");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
}

/// GK-HS-20, FIX-4
#[tokio::test]
async fn a_rate_limit_around_the_endpoint_answers_429_and_outer_observers_see_a_rejection() {
    for is_own in [false, true] {
        let errors: ErrorEncoder = if is_own { own } else { problem };
        let (edge, operation) = (Recorder::default(), Recorder::default());
        let endpoint = ServiceBuilder::new()
            .layer(observe(operation.clone()).rpc())
            .layer(RateLimitLayer::new(one_per_hour()).rpc())
            .service(endpoint_fn((), |(), ()| async { Ok::<_, RpcError>(()) }));
        let handler = ServiceBuilder::new()
            .layer(observe(edge.clone()).http())
            .service(serve("limited", Json, endpoint).errors(errors));
        assert_eq!(call(handler.clone(), post("")).await.status, 200);
        assert_eq!(edge.only().outcome(), Outcome::Success);
        assert_eq!(operation.only().outcome(), Outcome::Success);

        let answer = call(handler, post("")).await;
        check(&answer, is_own, 429, "rate_limited", "rate limit");
        if !is_own {
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=3600).contains(&wait));
        }
        for (recorder, status) in [(edge, Status::Http(429)), (operation, Status::Grpc(8))] {
            let end = recorder.only();
            assert_eq!(end.rejection_reason(), Some(RejectionReason::RateLimited));
            assert_eq!(end.outcome(), Outcome::Overloaded);
            if !is_own {
                assert_eq!(end.status(), Some(status));
            }
        }
    }
}

/// The headers of a rejection reach the caller.
#[tokio::test]
async fn a_rejection_of_a_layer_around_the_endpoint_is_answered_as_one_around_the_handler() {
    let rejection = Rejection::new(RejectionReason::Unauthenticated, "test");
    let endpoint = || endpoint_fn((), |(), ()| async { Ok::<_, RpcError>(()) });
    let inside = ServiceBuilder::new()
        .layer(guard(Rejects(rejection.clone())).rpc())
        .service(endpoint());
    let inside = call(serve("inside", Json, inside), post("")).await;
    let around = ServiceBuilder::new()
        .layer(guard(Rejects(rejection)).http())
        .service(serve("around", Json, endpoint()));
    let around = call(around, post("")).await;
    assert_eq!(inside.status, around.status);
    assert_eq!(inside.headers, around.headers);
    assert_eq!(inside.body, around.body);
}

/// An error type of a service, without a boxed error anywhere.
#[tokio::test]
async fn a_rejection_may_be_the_only_error() {
    let endpoint = endpoint_fn((), |(), ()| async {
        Err::<(), _>(Rejection::new(RejectionReason::Forbidden, "secret"))
    });
    assert!(endpoint.invoke(()).await.is_err());
    let mut handler = serve("forbidden", Json, endpoint);
    let Ok(response) = handler.call(post("")).await;
    assert_eq!(response.status(), 403);
    assert!(response.extensions().get::<Rejection>().is_some());
}
