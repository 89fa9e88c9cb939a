//! Spans as real receivers get them, over real sockets.

use std::{collections::HashSet, num::NonZeroUsize, time::Duration};

use http::{Request, Response, StatusCode};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode as Code},
};
use prost::Message;
use tower::{ServiceBuilder, ServiceExt};
use towerkit_core::{BoxError, LayerExt};
use towerkit_http::HttpExt;
use towerkit_opentelemetry::{
    SpanExporterHandle, SpanPipeline,
    opentelemetry::{
        self,
        trace::{Span as _, Tracer},
    },
};
use towerkit_trace::{Sampler, TraceLayer};
use tracing_subscriber::layer::SubscriberExt;

use crate::receiver::{anywhere, eventually, grpc_spans, posts};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
const LONG: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

fn pipeline() -> SpanPipeline {
    let stage = opentelemetry::KeyValue::new("deployment.environment.name", "test");
    SpanPipeline::new("shop").attribute(stage).delay(HOUR)
}

/// Serves a request of a caller that records its trace, with a call inside that fails; and one that is not recorded.
fn serve(spans: &SpanExporterHandle) {
    let subscriber = tracing_subscriber::registry().with(spans.layer_with_events());
    let inner = ServiceBuilder::new()
        .layer(TraceLayer::client().plain("stock"))
        .service_fn(async |()| Err::<(), _>(BoxError::from("out of stock")));
    let service = |layer: TraceLayer| {
        let inner = inner.clone();
        let handle = move |_: Request<String>| {
            let inner = inner.clone();
            async move {
                tracing::info!("looking");
                let _ = inner.oneshot(()).await;
                Ok::<_, BoxError>(Response::new(String::from("hello")))
            }
        };
        ServiceBuilder::new().layer(layer.http()).service_fn(handle)
    };
    let traced = Request::post("/orders")
        .header("traceparent", format!("00-{TRACE}-{SPAN}-01"))
        .body(String::new())
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let served = service(TraceLayer::server()).oneshot(traced);
        drop(runtime.block_on(served).unwrap());
        let not =
            service(TraceLayer::server().sampler(Sampler::never())).oneshot(Request::default());
        drop(runtime.block_on(not).unwrap());
    });
}

fn attribute(pairs: &[KeyValue], name: &str) -> Option<Value> {
    let found = pairs.iter().find(|pair| pair.key == name)?;
    found.value.as_ref()?.value.clone()
}

fn text(text: &str) -> Option<Value> {
    Some(Value::StringValue(text.to_owned()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks what [`serve`] records, as OTLP has it.
fn check(request: &ExportTraceServiceRequest) {
    let [resource] = &request.resource_spans[..] else {
        panic!("{request:#?}")
    };
    let about = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(attribute(about, "service.name"), text("shop"));
    assert_eq!(
        attribute(about, "deployment.environment.name"),
        text("test")
    );
    let spans: Vec<&Span> = resource
        .scope_spans
        .iter()
        .flat_map(|scope| &scope.spans)
        .collect();
    let [stock, server] = spans[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!(hex(&server.trace_id), TRACE);
    assert_eq!(hex(&server.parent_span_id), SPAN);
    assert_eq!(server.kind(), SpanKind::Server);
    assert_eq!(server.name, "POST");
    assert_eq!(
        attribute(&server.attributes, "http.request.method"),
        text("POST")
    );
    assert_eq!(
        attribute(&server.attributes, "http.response.status_code"),
        Some(Value::IntValue(200))
    );
    assert_eq!(server.events[0].name, "looking");
    assert_eq!(stock.parent_span_id, server.span_id);
    assert_eq!(stock.trace_id, server.trace_id);
    assert_eq!(stock.kind(), SpanKind::Client);
    assert_eq!(stock.status.as_ref().unwrap().code(), Code::Error);
    assert!(server.end_time_unix_nano >= stock.end_time_unix_nano);
}

#[test]
fn spans_arrive_by_otlp_over_grpc() {
    let receiver = grpc_spans(anywhere());
    let spans = pipeline().otlp_grpc(&receiver.endpoint()).unwrap();
    serve(&spans);
    spans.shutdown(LONG).unwrap();
    let received = receiver.received();
    assert_eq!(received.len(), 1);
    check(&received[0]);
    let report = spans.snapshot();
    assert_eq!(
        (report.sent(), report.lost(), report.held()),
        (2, 0, 0),
        "{report:?}"
    );
}

#[test]
fn spans_arrive_by_otlp_over_http() {
    let receiver = posts(anywhere(), StatusCode::OK);
    let spans = pipeline().otlp_http(&receiver.endpoint()).unwrap();
    serve(&spans);
    spans.shutdown(LONG).unwrap();
    let received = receiver.received();
    let [(path, kind, body)] = &received[..] else {
        panic!("{received:?}")
    };
    assert_eq!(
        (path.as_str(), kind.as_str()),
        ("/v1/traces", "application/x-protobuf")
    );
    check(&ExportTraceServiceRequest::decode(body.clone()).unwrap());
}

#[test]
fn spans_arrive_at_zipkin() {
    let receiver = posts(anywhere(), StatusCode::ACCEPTED);
    let spans = pipeline().zipkin(&receiver.endpoint()).unwrap();
    serve(&spans);
    spans.flush(LONG).unwrap();
    let received = receiver.received();
    let [(path, kind, body)] = &received[..] else {
        panic!("{received:?}")
    };
    assert_eq!(
        (path.as_str(), kind.as_str()),
        ("/api/v2/spans", "application/json")
    );
    let list: serde_json::Value = serde_json::from_slice(body).unwrap();
    let [stock, server] = &list.as_array().unwrap()[..] else {
        panic!("{list:#}")
    };
    assert_eq!(server["traceId"], TRACE);
    assert_eq!(server["parentId"], SPAN);
    assert_eq!(server["kind"], "SERVER");
    assert_eq!(server["name"], "POST");
    assert_eq!(server["localEndpoint"]["serviceName"], "shop");
    assert_eq!(server["tags"]["http.request.method"], "POST");
    assert!(
        server["annotations"][0]["value"]
            .as_str()
            .unwrap()
            .starts_with("\"looking\": {")
    );
    assert_eq!(stock["parentId"], server["id"]);
    assert_eq!(stock["tags"]["otel.status_code"], "ERROR");
    assert_eq!(stock["tags"]["error.type"], "failure");
    assert!(stock["timestamp"].as_u64().unwrap() >= server["timestamp"].as_u64().unwrap());
}

#[test]
fn a_batch_is_sent_when_it_is_full_and_the_rest_after_the_delay() {
    let receiver = grpc_spans(anywhere());
    let four = NonZeroUsize::new(4).unwrap();
    let delay = Duration::from_millis(300);
    let spans = pipeline()
        .batch(four)
        .otlp_grpc(&receiver.endpoint())
        .unwrap();
    let other = pipeline()
        .delay(delay)
        .otlp_grpc(&receiver.endpoint())
        .unwrap();
    for _ in 0..9 {
        spans.tracer().start("work").end();
    }
    eventually("two batches", || spans.snapshot().sent() == 8);
    assert_eq!(spans.snapshot().held(), 1);
    other.tracer().start("work").end();
    eventually("the delay", || other.snapshot().sent() == 1);
    drop((spans, other));
    eventually("the last span, after all handles are dropped", || {
        let received = receiver.received();
        let scopes = received.iter().flat_map(|request| &request.resource_spans);
        let scopes = scopes.flat_map(|resource| &resource.scope_spans);
        let ids: HashSet<_> = scopes
            .flat_map(|scope| &scope.spans)
            .map(|span| &span.span_id)
            .collect();
        ids.len() == 10
    });
}

#[test]
fn a_shutdown_that_blocks_the_runtime_still_ends() {
    let receiver = grpc_spans(anywhere());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let spans = pipeline().otlp_grpc(&receiver.endpoint()).unwrap();
        spans.tracer().start("work").end();
        spans.shutdown(LONG).unwrap();
        assert_eq!(spans.snapshot().sent(), 1);
        let again = spans.shutdown(LONG).unwrap_err();
        assert!(!again.is_timeout());
        assert!(spans.flush(LONG).is_err());
        spans.tracer().start("late").end();
        assert_eq!(spans.snapshot().held(), 0);
    });
    assert_eq!(receiver.received().len(), 1);
}
