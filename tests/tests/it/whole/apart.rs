//! A8.6: two services in one process can be told apart, in logs, in metrics and in traces.

use axum::{Router, routing::get};
use http_body_util::BodyExt;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{
    Resource,
    trace::{InMemorySpanExporter, SdkTracerProvider},
};
use towerkit_core::stack;
use towerkit_http::HttpExt;
use towerkit_log::{Format, LogLayer};
use towerkit_metrics::{MetricsLayer, Registry};
use towerkit_trace::TraceLayer;

use crate::whole::{
    observed::Observed,
    server::{Server, client},
};

/// A service with a registry of its own, which it shows.
fn service(name: &'static str, registry: &Registry) -> Router {
    let observers = (
        TraceLayer::server(),
        LogLayer::new().name(name),
        MetricsLayer::new().registry(registry.clone()),
    );
    Router::new()
        .route("/items", get(|| async { "items" }))
        .layer(stack(observers).axum())
        .route_service("/metrics", registry.service())
}

async fn read(server: &Server, path: &str) -> String {
    let response = client().request(server.get(path)).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn two_services_have_lines_metrics_and_spans_of_their_own() {
    let observed = Observed::start(Format::Json);
    let (shop, store) = (Registry::new(), Registry::new());
    let shop_server = Server::start(service("shop", &shop)).await;
    let store_server = Server::start(service("store", &store)).await;
    for _ in 0..3 {
        read(&shop_server, "/items").await;
    }
    read(&store_server, "/items").await;

    let lines = observed.calls();
    let of = |name: &str| lines.iter().filter(|line| line["msg"] == name).count();
    assert_eq!((of("shop"), of("store")), (3, 1));
    let count = |text: &str| {
        let mut lines = text
            .lines()
            .filter(|line| line.starts_with("http_server_request_duration_seconds_count"));
        let count = lines.next().unwrap().rsplit(' ').next().unwrap().to_owned();
        assert!(lines.next().is_none(), "{text}");
        count
    };
    assert_eq!(count(&read(&shop_server, "/metrics").await), "3");
    assert_eq!(count(&read(&store_server, "/metrics").await), "1");
    // A name that is taken by something else is an error, and no panic.
    let taken = shop.gauge("http_server_request_duration_seconds", "", &[("a", "b")]);
    assert!(taken.is_err());
}

/// A process that is two services has two providers, each with the name of its service.
#[tokio::test]
async fn spans_of_two_services_go_where_their_subscriber_sends_them() {
    let run = async |name: &'static str| {
        let exporter = InMemorySpanExporter::default();
        let resource = Resource::builder_empty().with_service_name(name).build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = towerkit_trace::otel_layer(provider.tracer(name));
        let subscriber =
            tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), layer);
        let _default = tracing::subscriber::set_default(subscriber);
        let server = Server::start(service(name, &Registry::new())).await;
        read(&server, "/items").await;
        let spans = exporter.get_finished_spans().unwrap();
        spans
            .iter()
            .map(|span| span.instrumentation_scope.name().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(run("shop").await, ["shop"]);
    assert_eq!(run("store").await, ["store"]);
}
