//! Spans as they are exported, and calls that make some.

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use towerkit_core::BoxError;
use towerkit_trace::otel_layer;
use tracing_subscriber::layer::SubscriberExt;

/// A context that is recorded, and its parts.
pub(crate) const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(crate) const SPAN: &str = "00f067aa0ba902b7";

/// Answers every call.
pub(crate) async fn ok<B>(_request: Request<B>) -> Result<Response<Full<Bytes>>, BoxError> {
    Ok(Response::new(Full::from("hello")))
}

/// A request that goes on from a context.
pub(crate) fn with_parent(parent: &'static str) -> Request<()> {
    let mut request = Request::new(());
    let parent = HeaderValue::from_static(parent);
    request.headers_mut().insert("traceparent", parent);
    request
}

/// Runs something under a subscriber of its own, with paused time; the spans that came of it, in the order of their ends.
pub(crate) fn spans_of(run: impl AsyncFnOnce()) -> Vec<SpanData> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let subscriber = tracing_subscriber::registry().with(otel_layer(provider.tracer("test")));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tracing::subscriber::with_default(subscriber, || runtime.block_on(run()));
    exporter.get_finished_spans().unwrap()
}

/// The only span that came of it.
pub(crate) fn span_of(run: impl AsyncFnOnce()) -> SpanData {
    let mut spans = spans_of(run);
    assert_eq!(spans.len(), 1, "{spans:#?}");
    spans.remove(0)
}

/// The attributes of semantic conventions that a span has, as `name=value`.
pub(crate) fn attributes(span: &SpanData) -> Vec<String> {
    let ours = ["http.", "rpc.", "url.", "server.", "error."];
    let pairs = span.attributes.iter();
    let mut shown: Vec<_> = pairs
        .map(|pair| format!("{}={}", pair.key, pair.value))
        .filter(|pair| ours.iter().any(|prefix| pair.starts_with(prefix)))
        .collect();
    shown.sort();
    shown
}

/// The value of an attribute.
pub(crate) fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let mut values = span
        .attributes
        .iter()
        .filter(|pair| pair.key.as_str() == name);
    let value = values.next().map(|pair| pair.value.to_string());
    assert!(values.next().is_none(), "{name} is there twice");
    value
}

pub(crate) fn is_error(span: &SpanData) -> bool {
    matches!(span.status, opentelemetry::trace::Status::Error { .. })
}
