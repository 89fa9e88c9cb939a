//! The stack of `docs/guides/observability.md`: line, span and exemplar of a call belong together.

use std::io::{Read, pipe};
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use http::Request;
use http_body_util::BodyExt;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanData};
use tower::ServiceExt;
use towerkit_core::stack;
use towerkit_http::HttpExt;
use towerkit_log::{Background, Format, LineFormatter, LogLayer};
use towerkit_metrics::{MetricsLayer, Registry};
use towerkit_opentelemetry::SpanPipeline;
use towerkit_trace::{Sampler, TraceLayer};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer, layer::SubscriberExt};

struct Seen {
    log: String,
    spans: Vec<SpanData>,
    metrics: String,
}

/// Calls `/hello/Ann` through the stack of the guide, which records that share of the traces.
async fn seen(share: f64) -> Seen {
    let (mut reader, writer) = pipe().unwrap();
    let background = Background::new().start(Format::Json, Arc::new(writer));
    let (queue, guard) = background.unwrap();
    let exporter = InMemorySpanExporter::default();
    let spans = SpanPipeline::new("shop").exporter(exporter.clone());
    let spans = spans.unwrap();
    let lines = LineFormatter::new(Format::Json).writer(queue);
    let subscriber = tracing_subscriber::registry()
        .with(spans.layer().with_filter(LevelFilter::INFO))
        .with(lines.with_filter(LevelFilter::INFO));
    let scope = tracing::subscriber::set_default(subscriber);

    let registry = Registry::new();
    let policies = stack((
        TraceLayer::server().sampler(Sampler::ratio(share).unwrap()),
        LogLayer::new(),
        MetricsLayer::new().registry(registry.clone()),
    ));
    let hello = get(async || {
        tracing::info!("in the handler");
        tracing::debug_span!("a detail").in_scope(|| "hello")
    });
    let app: Router = Router::new().route("/hello/{name}", hello);
    let request = Request::get("/hello/Ann").body(Body::empty()).unwrap();
    let response = app.layer(policies.axum()).oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();

    spans.flush(Duration::from_secs(120)).unwrap();
    drop((scope, guard));
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    Seen {
        log,
        spans: exporter.get_finished_spans().unwrap(),
        metrics: registry.render_open_metrics(),
    }
}

/// Returns the line of the call.
fn line(log: &str) -> serde_json::Value {
    let calls = log.lines().filter(|line| line.contains("towerkit::call"));
    let [call] = calls.collect::<Vec<_>>()[..] else {
        panic!("one call: {log}");
    };
    serde_json::from_str(call).unwrap()
}

/// A7.8
#[tokio::test]
async fn line_span_and_exemplar_have_the_same_ids() {
    let seen = seen(1.0).await;
    let [span] = &seen.spans[..] else {
        panic!("one span: {:?}", seen.spans);
    };
    let trace = span.span_context.trace_id().to_string();
    let id = span.span_context.span_id().to_string();
    assert_eq!(span.name, "GET /hello/{name}");
    let line = line(&seen.log);
    assert_eq!(
        (&line["trace_id"], &line["span_id"]),
        (&trace.as_str().into(), &id.as_str().into())
    );
    let exemplar = format!(r#" # {{trace_id="{trace}",span_id="{id}"}} "#);
    assert!(seen.metrics.contains(&exemplar), "{}", seen.metrics);
}

#[tokio::test]
async fn a_trace_that_is_not_recorded_has_a_line_with_ids_and_no_more() {
    let seen = seen(0.0).await;
    assert_eq!(seen.spans.len(), 0, "{:?}", seen.spans);
    assert_eq!(line(&seen.log)["trace_id"].as_str().map(str::len), Some(32));
    assert!(seen.log.contains("in the handler"));
    assert!(!seen.metrics.contains("trace_id"), "{}", seen.metrics);
}
