use std::time::Duration;

use axum::{Router, routing::get};
use axum_prometheus::{
    PrometheusMetricLayer, PrometheusMetricLayerBuilder,
    metrics_exporter_prometheus::PrometheusHandle,
};
use tower::{Layer, ServiceExt};
use towerkit_http::HttpExt;
use towerkit_metrics::{Buckets, MetricsLayer, Registry};

use crate::{
    Bug, http_calls,
    http_calls::{Frames, Req},
};

const PEER: &str = "axum-prometheus";

/// axum-prometheus with the sizes of bodies, on the process's one recorder.
struct Peer {
    layer: PrometheusMetricLayer<'static>,
    handle: PrometheusHandle,
}

pub(crate) fn bugs() -> Vec<Bug> {
    let (layer, handle) = PrometheusMetricLayerBuilder::new()
        .enable_response_body_size(true)
        .with_default_metrics()
        .build_pair();
    let peer = Peer { layer, handle };
    vec![
        cancelled_calls_are_not_counted(&peer),
        raw_paths_are_labels(&peer),
        a_body_that_breaks_is_a_success(&peer),
        a_duration_ends_at_the_head(&peer),
        sizes_add_up_at_every_chunk(&peer),
    ]
}

fn cancelled_calls_are_not_counted(peer: &Peer) -> Bug {
    http_calls::cancel(
        peer.layer.layer(http_calls::silent()),
        http_calls::get("/cancelled"),
    );
    let registry = Registry::new();
    let ours = metrics(&registry).http();
    http_calls::cancel(ours.layer(http_calls::silent()), http_calls::get("/"));
    let cancelled = sum(&registry.render(), COUNT, "outcome=\"cancelled\"");
    Bug {
        id: "MT-04",
        peer: PEER,
        what: "a call is cancelled before its answer: calls counted",
        expected: "1",
        observed: sum(
            &peer.handle.render(),
            "axum_http_requests_total{",
            "/cancelled",
        )
        .to_string(),
        ours: cancelled.to_string(),
    }
}

/// A scanner asks for a thousand paths that do not exist.
fn raw_paths_are_labels(peer: &Peer) -> Bug {
    let registry = Registry::new();
    let routes = || Router::new().route("/", get(async || "hello"));
    scan(routes().layer(peer.layer.clone()));
    scan(routes().layer(metrics(&registry).axum()));
    let series =
        |text: &str, name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    let theirs = peer.handle.render();
    let theirs = theirs.lines().filter(|line| line.contains("/scan/"));
    let theirs = theirs.filter(|line| line.starts_with("axum_http_requests_total{"));
    Bug {
        id: "MT-01",
        peer: PEER,
        what: "1,000 paths that do not exist: series of one metric",
        expected: "1",
        observed: theirs.count().to_string(),
        ours: series(&registry.render(), COUNT).to_string(),
    }
}

fn scan(app: Router) {
    let app = app.map_request(|request: Req| request.map(axum::body::Body::new));
    for number in 0..1000 {
        http_calls::call(app.clone(), http_calls::get(&format!("/scan/{number}")));
    }
}

fn a_body_that_breaks_is_a_success(peer: &Peer) -> Bug {
    let broken = || http_calls::answering(Frames::of([&b"hello"[..]]).then_break());
    http_calls::call(peer.layer.layer(broken()), http_calls::get("/broken"));
    let registry = Registry::new();
    http_calls::call(
        metrics(&registry).http().layer(broken()),
        http_calls::get("/"),
    );
    let theirs = peer.handle.render();
    let good = sum(
        &theirs,
        "axum_http_requests_total{",
        "endpoint=\"/broken\",status=\"200\"",
    ) + sum(
        &theirs,
        "axum_http_requests_total{",
        "status=\"200\",endpoint=\"/broken\"",
    );
    let failed = sum(&registry.render(), COUNT, "outcome=\"failure\"");
    Bug {
        id: "MT-04",
        peer: PEER,
        what: "the body of a 200 breaks off: recorded as",
        expected: "a failure",
        observed: if good == 1.0 {
            "a 200, and nothing else"
        } else {
            "?"
        }
        .to_owned(),
        ours: if failed == 1.0 { "a failure" } else { "?" }.to_owned(),
    }
}

fn a_duration_ends_at_the_head(peer: &Peer) -> Bug {
    let delay = Duration::from_millis(50);
    let slow = || http_calls::answering(Frames::of([&b"hello"[..]]).slowly(delay));
    http_calls::call(peer.layer.layer(slow()), http_calls::get("/slow"));
    let registry = Registry::new();
    http_calls::call(
        metrics(&registry).http().layer(slow()),
        http_calls::get("/"),
    );
    let millis = |seconds: f64| format!("{:.0} ms", seconds * 1e3);
    let theirs = sum(
        &peer.handle.render(),
        "axum_http_requests_duration_seconds_sum{",
        "/slow",
    );
    let ours = sum(
        &registry.render(),
        "http_server_request_duration_seconds_sum{",
        "",
    );
    Bug {
        id: "MT-07",
        peer: PEER,
        what: "the body takes 50 ms: duration recorded",
        expected: "50 ms",
        observed: millis(theirs),
        ours: millis(ours),
    }
}

/// Three chunks of ten bytes, of no declared length.
fn sizes_add_up_at_every_chunk(peer: &Peer) -> Bug {
    let chunks = Frames::of([&b"0123456789"[..]; 3]);
    http_calls::call(
        peer.layer.layer(http_calls::answering(chunks)),
        http_calls::get("/chunks"),
    );
    let text = peer.handle.render();
    let count = sum(&text, "axum_http_response_body_size_count{", "/chunks");
    let bytes = sum(&text, "axum_http_response_body_size_sum{", "/chunks");
    Bug {
        id: "MT-05",
        peer: PEER,
        what: "one body of three chunks of 10 bytes: bodies and bytes recorded",
        expected: "1 of 30 bytes",
        observed: format!("{count} of {bytes} bytes"),
        ours: sizes_of_ours(),
    }
}

fn sizes_of_ours() -> String {
    let registry = Registry::new();
    let layer = metrics(&registry).body_sizes(Buckets::bytes()).http();
    let chunks = Frames::of([&b"0123456789"[..]; 3]);
    http_calls::call(
        layer.layer(http_calls::answering(chunks)),
        http_calls::get("/chunks"),
    );
    let text = registry.render();
    let count = sum(&text, "http_server_response_body_size_bytes_count{", "GET");
    let bytes = sum(&text, "http_server_response_body_size_bytes_sum{", "GET");
    format!("{count} of {bytes} bytes")
}

/// The number of calls is that of their durations.
const COUNT: &str = "http_server_request_duration_seconds_count{";

fn metrics(registry: &Registry) -> MetricsLayer {
    MetricsLayer::new().registry(registry.clone())
}

/// Adds up the values of the lines that begin with `name` and hold `label`.
fn sum(text: &str, name: &str, label: &str) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with(name));
    let lines = lines.filter(|line| line.contains(label));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.fold(0.0, |sum, value| sum + value)
}
