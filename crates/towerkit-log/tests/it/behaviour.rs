//! The events of the layer, as a subscriber gets them.

use std::{
    convert::Infallible,
    fmt::Debug,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_core::{CallEnd, Clock, LayerExt, Outcome, TraceIds, stack};
use towerkit_http::{Http, HttpExt};
use towerkit_log::{LogCallState, LogLayer, level_of};
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_test::{Action, Probe, run_paused};
use tracing::{Level, level_filters::LevelFilter, subscriber::DefaultGuard};

use crate::capture::{Capture, Seen};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

fn capture() -> (Capture, DefaultGuard) {
    Capture::start(LevelFilter::TRACE)
}

fn names(seen: &Seen) -> Vec<&'static str> {
    seen.fields.iter().map(|field| field.0).collect()
}

async fn answer(request: Request<u16>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::from("hello"));
    *response.status_mut() = (*request.body()).try_into().unwrap();
    Ok(response)
}

/// Answers with the gRPC code that the body of the request says.
async fn answer_grpc(request: Request<u16>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::from("hello"));
    let headers = response.headers_mut();
    headers.insert("content-type", GRPC);
    headers.insert("grpc-status", (*request.body()).into());
    Ok(response)
}

fn request(method: &str, path: &str, status: u16) -> Request<u16> {
    let request = Request::builder().method(method).uri(path);
    request.body(status).unwrap()
}

fn grpc_request(path: &str, code: u16) -> Request<u16> {
    let mut request = request("POST", path, code);
    request.headers_mut().insert("content-type", GRPC);
    request
}

fn by_path() -> Http<towerkit_http::ByStatus, impl towerkit_http::OperationName + Clone> {
    Http::new().operation(|head| head.uri.path())
}

/// Calls, and reads the response to its end.
async fn serve<S, B>(service: S, request: Request<u16>)
where
    S: Service<Request<u16>, Response = Response<B>, Error = Infallible>,
    B: http_body_util::BodyExt<Error: Debug>,
{
    let response = service.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
}

/// A4.5
#[tokio::test]
async fn an_http_call_is_one_event_at_the_end_of_its_body() {
    let (log, _guard) = capture();
    let (clock, clock_control) = Clock::manual();
    let layer = LogLayer::new().clock(clock).protocol(by_path());
    let service = layer.layer(service_fn(answer));
    let response = service.oneshot(request("PUT", "/a", 201)).await.unwrap();
    assert_eq!(log.take(), [], "the body goes on");
    clock_control.advance(Duration::from_nanos(1_234_567));
    response.into_body().collect().await.unwrap();
    let expected = [
        ("message", "call"),
        ("operation", "/a"),
        ("method", "PUT"),
        ("status", "201"),
        ("outcome", "success"),
        ("latency_ms", "1.234"),
        ("bytes", "5"),
    ];
    let seen = log.only();
    assert_eq!((seen.level, seen.target), (Level::INFO, "towerkit::call"));
    let expected = expected.map(|(name, value)| (name, value.to_owned()));
    assert_eq!(seen.fields, expected);
}

#[tokio::test]
async fn a_grpc_call_has_a_code_and_no_method_of_http() {
    let (log, _guard) = capture();
    let service = LogLayer::new().http().layer(service_fn(answer_grpc));
    serve(service, grpc_request("/shop.Orders/Place", 5)).await;
    let seen = log.only();
    assert_eq!(seen.field("operation"), Some("shop.Orders/Place"));
    assert_eq!(seen.field("code"), Some("5"));
    assert_eq!(seen.field("outcome"), Some("client_error"));
    assert_eq!((seen.field("status"), seen.field("method")), (None, None));
}

#[tokio::test]
async fn a_plain_call_has_no_field_of_a_protocol() {
    let (log, _guard) = capture();
    let layer = LogLayer::new().name("words").plain("uppercase");
    layer
        .layer(Probe::new())
        .oneshot(Action::Succeed)
        .await
        .unwrap();
    let seen = log.only();
    assert_eq!(
        names(&seen),
        ["message", "operation", "outcome", "latency_ms"]
    );
    assert_eq!(seen.field("message"), Some("words"));
    assert_eq!(seen.field("operation"), Some("uppercase"));
}

#[tokio::test]
async fn a_call_that_is_dropped_is_logged_as_cancelled() {
    let (log, _guard) = capture();
    let layer = LogLayer::new().http();
    let mut service = layer.layer(Probe::new());
    let request = Request::new(Action::Pend(1));
    let ready = ServiceExt::<Request<Action>>::ready(&mut service).await;
    let call = ready.unwrap().call(request);
    drop(call);
    let seen = log.only();
    assert_eq!(seen.level, Level::INFO);
    assert_eq!(seen.field("outcome"), Some("cancelled"));
    assert_eq!(seen.field("cancelled"), Some("true"));
    assert_eq!(seen.field("status"), None, "there was no head");

    let response = service
        .oneshot(Request::new(Action::Succeed))
        .await
        .unwrap();
    drop(response);
    let seen = log.only();
    assert_eq!(seen.field("cancelled"), Some("true"));
    assert_eq!(seen.field("status"), Some("200"));
}

#[tokio::test]
async fn a_rejection_by_the_same_stack_or_an_inner_layer_is_logged_with_its_reason() {
    let (log, _guard) = capture();
    let limit = || RateLimitLayer::new(Quota::per_second(1).unwrap());
    let policies = stack((LogLayer::new(), limit())).http();
    let policies = policies.layer(service_fn(answer));
    let nested = LogLayer::new()
        .http()
        .layer(limit().http().layer(service_fn(answer)));
    for _ in 0..2 {
        serve(policies.clone(), request("GET", "/", 200)).await;
        serve(nested.clone(), request("GET", "/", 200)).await;
    }
    let seen = log.take();
    assert_eq!(seen.len(), 4);
    for (admitted, rejected) in seen[..2].iter().zip(&seen[2..]) {
        assert_eq!(
            (admitted.level, admitted.field("rejected")),
            (Level::INFO, None)
        );
        assert_eq!(rejected.level, Level::WARN);
        assert_eq!(rejected.field("rejected"), Some("rate_limited"));
        assert_eq!(rejected.field("outcome"), Some("overloaded"));
        assert_eq!(rejected.field("status"), Some("429"));
        let bytes: u64 = rejected.field("bytes").unwrap().parse().unwrap();
        assert!(bytes > 0, "the problem details were sent");
    }
}

/// The table of levels in the docs.
#[tokio::test]
async fn the_level_follows_the_outcome() {
    let (log, _guard) = capture();
    let service = LogLayer::new().http().layer(service_fn(answer));
    for (status, outcome, level) in [
        (200, "success", Level::INFO),
        (404, "client_error", Level::INFO),
        (499, "cancelled", Level::INFO),
        (503, "overloaded", Level::WARN),
        (504, "timed_out", Level::WARN),
        (500, "failure", Level::ERROR),
    ] {
        serve(service.clone(), request("GET", "/", status)).await;
        let seen = log.only();
        assert_eq!((seen.field("outcome"), seen.level), (Some(outcome), level));
    }
    for outcome in Outcome::ALL {
        assert!(level_of(&CallEnd::new(outcome)) <= Level::INFO);
    }
}

/// T-04
#[test]
fn a_panic_is_logged_as_an_error() {
    let (log, _guard) = capture();
    for act in [Action::PanicInCall, Action::PanicInFuture] {
        let service = LogLayer::new().plain("probe").layer(Probe::new());
        let call = || run_paused(async { service.oneshot(act).await.is_ok() });
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
        let seen = log.only();
        assert_eq!(seen.level, Level::ERROR);
        assert_eq!(seen.field("panicked"), Some("true"));
        assert_eq!(seen.field("outcome"), Some("failure"));
    }
}

#[tokio::test]
async fn a_function_chooses_the_level() {
    let (log, _guard) = capture();
    let layer = LogLayer::new().level(|end| match end.outcome() {
        Outcome::Success => Level::TRACE,
        Outcome::ClientError => Level::DEBUG,
        _ => panic!("no level for this"),
    });
    let service = layer.http().layer(service_fn(answer));
    for (status, level) in [(200, Level::TRACE), (404, Level::DEBUG), (503, Level::WARN)] {
        serve(service.clone(), request("GET", "/", status)).await;
        assert_eq!(log.only().level, level);
    }
}

#[tokio::test]
async fn a_handle_changes_the_minimum_level_at_run_time() {
    let (log, _guard) = capture();
    let layer = LogLayer::new();
    let handle = layer.handle();
    let service = layer.http().layer(service_fn(answer));
    assert_eq!(handle.snapshot().level, LevelFilter::TRACE);
    for (level, events) in [
        (LevelFilter::INFO, 2),
        (LevelFilter::ERROR, 1),
        (LevelFilter::OFF, 0),
        (LevelFilter::TRACE, 2),
    ] {
        handle.set_level(level);
        assert_eq!(handle.snapshot().level, level);
        for status in [200, 500] {
            serve(service.clone(), request("GET", "/", status)).await;
        }
        assert_eq!(log.take().len(), events, "{level}");
    }
}

#[tokio::test]
async fn a_subscriber_gets_only_the_levels_that_it_enables() {
    let (log, _guard) = Capture::start(LevelFilter::WARN);
    let service = LogLayer::new().http().layer(service_fn(answer));
    for (status, events) in [(200, 0), (503, 1), (500, 1)] {
        serve(service.clone(), request("GET", "/", status)).await;
        assert_eq!(log.take().len(), events);
    }
}

/// A response that is held counts against its memory, logged or not.
#[test]
fn the_state_of_a_call_is_one_word() {
    assert_eq!(size_of::<LogCallState>(), size_of::<usize>());
}

#[tokio::test]
async fn a_pooled_state_contains_no_data_of_an_earlier_call() {
    let (log, _guard) = capture();
    let service = LogLayer::new()
        .protocol(by_path())
        .layer(service_fn(answer));
    let long = format!("/{}", "long".repeat(1000));
    for (method, path) in [
        ("PROPFIND", long.as_str()),
        ("OPTIONS", "/longer"),
        ("GET", "/"),
    ] {
        serve(service.clone(), request(method, path, 200)).await;
        let seen = log.only();
        assert_eq!(seen.field("method"), Some(method));
        assert_eq!(seen.field("operation"), Some(path));
    }
    let plain = LogLayer::new().plain("probe").layer(Probe::new());
    plain.oneshot(Action::Succeed).await.unwrap();
    assert_eq!(log.only().field("method"), None);
}

#[tokio::test]
async fn concurrent_calls_are_logged_separately() {
    let (log, _guard) = capture();
    let service = LogLayer::new()
        .protocol(by_path())
        .layer(service_fn(answer));
    let paths: Vec<_> = (0..200).map(|n| format!("/{n}")).collect();
    let mut responses = Vec::new();
    for path in &paths {
        let response = service.clone().oneshot(request("GET", path, 200)).await;
        responses.push(response.unwrap());
    }
    for response in responses {
        response.into_body().collect().await.unwrap();
    }
    let seen = log.take();
    assert!(
        seen.iter()
            .map(|seen| seen.field("operation"))
            .eq(paths.iter().map(|path| Some(path.as_str())))
    );
}

/// A second panic in the drop of a call that unwinds would end the process.
#[test]
fn a_subscriber_that_panics_loses_only_the_event() {
    struct Panics;
    impl tracing::Subscriber for Panics {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn event(&self, _: &tracing::Event<'_>) {
            panic!("subscriber");
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }
    let _guard = tracing::subscriber::set_default(Panics);
    let service = LogLayer::new().plain("probe").layer(Probe::new());
    let call = |act| run_paused(service.clone().oneshot(act));
    assert!(call(Action::Succeed).is_ok());
    assert!(catch_unwind(AssertUnwindSafe(|| call(Action::PanicInFuture))).is_err());
}

/// A7.8
#[tokio::test]
async fn a_traced_call_logs_its_trace_ids() {
    let (log, _guard) = capture();
    let ids = TraceIds {
        trace: [0x01; 16],
        span: [0xab; 8],
        flags: 0,
    };
    let service = LogLayer::new().plain("uppercase").layer(Probe::new());
    let mut call = pin!(service.oneshot(Action::Succeed));
    poll_fn(|cx| TraceIds::enter(Some(ids), || call.as_mut().poll(cx)))
        .await
        .unwrap();
    let seen = log.only();
    assert_eq!(seen.field("trace_id"), Some(&*"01".repeat(16)));
    assert_eq!(seen.field("span_id"), Some("abababababababab"));
}

#[tokio::test]
async fn a_call_without_a_trace_logs_no_trace_ids() {
    let (log, _guard) = capture();
    let service = LogLayer::new().plain("uppercase").layer(Probe::new());
    service.oneshot(Action::Succeed).await.unwrap();
    let seen = log.only();
    assert_eq!(
        (seen.field("trace_id"), seen.field("span_id")),
        (None, None)
    );
}
