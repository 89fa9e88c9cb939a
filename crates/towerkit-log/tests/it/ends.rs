//! The events of calls whose response continues after its head.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use towerkit_core::{BoxError, Clock, Deadline, ErrorCode, LayerExt, ProtocolKind};
use towerkit_endpoint::{RpcError, RpcExt, UnknownMethod, endpoint_fn};
use towerkit_http::HttpExt;
use towerkit_log::LogLayer;
use towerkit_test::Probe;
use tracing::{Level, level_filters::LevelFilter};

use crate::capture::{Capture, Seen};

/// A body of frames, of which the last may be an error.
struct Frames(VecDeque<Result<Frame<Bytes>, BoxError>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn data(text: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// Answers 200 with these frames; the caller reads so many of them, and then goes away.
async fn call(frames: Vec<Result<Frame<Bytes>, BoxError>>, grpc: bool, reads: usize) -> Seen {
    let (log, _guard) = Capture::start(LevelFilter::TRACE);
    let mut body = Some(Frames(frames.into()));
    let answer = move |_: Request<()>| {
        let mut response = Response::new(body.take().unwrap());
        if grpc {
            response
                .headers_mut()
                .insert("content-type", HeaderValue::from_static("application/grpc"));
        }
        async { Ok::<_, Infallible>(response) }
    };
    let service = LogLayer::new().http().layer(service_fn(answer));
    let mut request = Request::post("/shop.Orders/Place").body(()).unwrap();
    if grpc {
        request
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("application/grpc"));
    }
    let mut body = service.oneshot(request).await.unwrap().into_body();
    for _ in 0..reads {
        let _ = body.frame().await;
    }
    drop(body);
    log.only()
}

/// A4.5
#[tokio::test]
async fn a_body_that_fails_is_a_failure_after_a_successful_head() {
    let seen = call(vec![data("hello"), Err("broken".into())], false, 2).await;
    assert_eq!(seen.level, Level::ERROR);
    assert_eq!(seen.field("outcome"), Some("failure"));
    assert_eq!(
        (seen.field("status"), seen.field("bytes")),
        (Some("200"), Some("5"))
    );
}

#[tokio::test]
async fn a_stream_is_logged_at_its_end_with_all_its_bytes() {
    let seen = call(vec![data("a"), data("bc"), data("def")], false, 4).await;
    assert_eq!(
        (seen.field("outcome"), seen.field("bytes")),
        (Some("success"), Some("6"))
    );
}

#[tokio::test]
async fn a_stream_that_the_client_drops_is_cancelled_with_the_bytes_sent() {
    let seen = call(vec![data("a"), data("bc"), data("def")], false, 2).await;
    assert_eq!(
        (seen.field("outcome"), seen.field("bytes")),
        (Some("cancelled"), Some("3"))
    );
    assert_eq!(
        (seen.level, seen.field("status")),
        (Level::INFO, Some("200"))
    );
}

#[tokio::test]
async fn a_code_in_the_trailers_is_the_outcome() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("13"));
    let seen = call(vec![data("a"), Ok(Frame::trailers(trailers))], true, 3).await;
    assert_eq!((seen.level, seen.field("code")), (Level::ERROR, Some("13")));
    assert_eq!(seen.field("outcome"), Some("failure"));
}

#[tokio::test]
async fn a_deadline_is_logged_as_the_time_left_at_the_start() {
    let (log, _guard) = Capture::start(LevelFilter::TRACE);
    let (clock, clock_control) = Clock::manual();
    let mut request = Request::new(towerkit_test::Action::Succeed);
    request
        .extensions_mut()
        .insert(Deadline::after(&clock, Duration::from_micros(2500)));
    clock_control.advance(Duration::from_millis(1));
    let response = LogLayer::new()
        .http()
        .layer(Probe::new())
        .oneshot(request)
        .await
        .unwrap();
    clock_control.advance(Duration::from_millis(1));
    drop(response);
    assert_eq!(log.only().field("deadline_ms"), Some("1.5"));
    let plain = LogLayer::new().plain("probe").layer(Probe::new());
    plain.oneshot(towerkit_test::Action::Succeed).await.unwrap();
    assert_eq!(log.only().field("deadline_ms"), None);
}

/// A call of JSON-RPC has neither a method of HTTP nor a body of its own.
#[tokio::test]
async fn a_call_of_json_rpc_has_the_number_of_its_error_and_the_name_of_an_unknown_method() {
    let (log, _guard) = Capture::start(LevelFilter::TRACE);
    let call = async |operation, code: Option<ErrorCode>, unknown: Option<&str>| {
        let service = endpoint_fn((), move |(), ()| async move {
            code.map_or(Ok(()), |code| Err(RpcError::new(code, "no")))
        });
        let mut request = towerkit_endpoint::Request::new(operation, ());
        request.protocol = ProtocolKind::JsonRpc;
        if let Some(unknown) = unknown {
            request.extensions.insert(UnknownMethod(unknown.into()));
        }
        let _ = LogLayer::new().rpc().layer(service).oneshot(request).await;
        let seen = log.only();
        let fields = ["operation", "method", "path", "code", "bytes"];
        fields.map(|field| seen.field(field).unwrap_or("-").to_owned())
    };
    let invalid = Some(ErrorCode::InvalidArgument);
    assert_eq!(call("sum", None, None).await, ["sum", "-", "-", "-", "-"]);
    assert_eq!(
        call("sum", invalid, None).await,
        ["sum", "-", "-", "-32602", "-"]
    );
    assert_eq!(
        call("unmatched", Some(ErrorCode::Unimplemented), Some("a name")).await,
        ["unmatched", "-", "a name", "-32601", "-"]
    );
}
