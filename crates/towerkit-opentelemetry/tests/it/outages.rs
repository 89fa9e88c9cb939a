//! A receiver that is unreachable, silent, suspended or killed: no call fails or waits, memory is bounded, and lost spans are counted.

use std::{
    net::TcpListener,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use http::StatusCode;
use towerkit_opentelemetry::{
    FlushError, SpanExporterHandle, SpanPipeline,
    opentelemetry::trace::{Span, Tracer},
    opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SpanData, SpanExporter},
    },
};

use crate::{
    protocols::{POSTS, STARTS},
    receiver::{anywhere, eventually, posts},
};

const QUEUE: usize = 100;
pub(crate) const LIMIT: Duration = Duration::from_millis(500);
/// Longer than any test runs, however busy the machine is.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn pipeline() -> SpanPipeline {
    let size = |size| NonZeroUsize::new(size).unwrap();
    SpanPipeline::new("shop")
        .queue(size(QUEUE))
        .batch(size(10))
        .delay(Duration::from_millis(20))
        .timeout(HOUR)
}

/// A pipeline that sends its first batch at the shutdown, if fewer than [`QUEUE`] spans are recorded.
fn sends_at_shutdown() -> SpanPipeline {
    let all = NonZeroUsize::new(QUEUE).unwrap();
    pipeline().batch(all).delay(HOUR)
}

/// Shuts down within [`LIMIT`], which is far from the time that an export may take.
pub(crate) fn shut_down(spans: &SpanExporterHandle) -> Result<(), FlushError> {
    let start = Instant::now();
    let result = spans.shutdown(LIMIT);
    assert!(start.elapsed() < 60 * LIMIT);
    result
}

/// By each protocol.
fn pipelines(endpoint: &str) -> impl Iterator<Item = SpanExporterHandle> {
    let starts = STARTS.iter();
    starts.map(|start| start(pipeline(), endpoint).unwrap())
}

/// Records spans without waiting.
pub(crate) fn record(spans: &SpanExporterHandle, count: usize) {
    let tracer = spans.tracer();
    let start = Instant::now();
    for _ in 0..count {
        tracer.start("work").end();
        assert!(spans.snapshot().held() <= QUEUE);
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{count} spans took {took:?}");
}

/// Records spans for a receiver that never answers: all are lost, and all are counted.
fn loses_all(spans: &SpanExporterHandle) -> Result<(), FlushError> {
    const COUNT: usize = 5000;
    record(spans, COUNT);
    let result = shut_down(spans);
    let report = spans.snapshot();
    assert_eq!((report.held(), report.sent()), (0, 0));
    assert_eq!(report.lost(), COUNT as u64);
    assert!(report.failed() > 0 && report.last_error().is_some());
    result
}

#[test]
fn an_unreachable_endpoint_delays_no_call() {
    let port = TcpListener::bind(anywhere()).unwrap().local_addr().unwrap();
    for spans in pipelines(&format!("http://{port}")) {
        // All spans may have been sent already.
        let _ = loses_all(&spans);
    }
}

#[test]
fn a_receiver_that_never_answers_delays_no_call() {
    let listener = TcpListener::bind(anywhere()).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        // Kept open, and not read from.
        let _connections: Vec<_> = listener.incoming().collect();
    });
    for spans in pipelines(&endpoint) {
        assert!(loses_all(&spans).unwrap_err().is_timeout());
        // The queue was full, because the first batch was never answered.
        assert_eq!(spans.snapshot().failed(), QUEUE as u64);
    }
}

/// Waits until so many more are sent, of as many as it takes.
pub(crate) fn arrives(spans: &SpanExporterHandle) {
    let before = spans.snapshot().sent();
    eventually("spans arrive", || {
        record(spans, 1);
        spans.snapshot().sent() > before + 20
    });
}

/// Waits until spans are lost.
pub(crate) fn is_lost(spans: &SpanExporterHandle) {
    let before = spans.snapshot().lost();
    eventually("spans are lost", || {
        record(spans, 5);
        spans.snapshot().lost() > before + 200
    });
}

#[test]
fn spans_arrive_again_after_a_receiver_over_http_restarts() {
    for start in POSTS {
        let receiver = posts(anywhere(), StatusCode::OK);
        let spans = start(pipeline(), &receiver.endpoint()).unwrap();
        arrives(&spans);
        let address = receiver.kill();
        is_lost(&spans);
        let _receiver = posts(address, StatusCode::OK);
        arrives(&spans);
        spans.shutdown(60 * LIMIT).unwrap();
    }
}

/// An exporter that panics.
#[derive(Debug)]
struct Panics;

impl SpanExporter for Panics {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        // The runtime that exporters are promised.
        tokio::time::sleep(Duration::from_millis(1)).await;
        panic!("by intention");
    }
}

#[test]
fn an_exporter_that_panics_ends_only_its_pipeline() {
    let spans = pipeline().exporter(Panics).unwrap();
    record(&spans, 50);
    eventually("all are counted", || spans.snapshot().held() == 0);
    record(&spans, 50);
    assert!(spans.shutdown(LIMIT).is_err());
    let report = spans.snapshot();
    assert_eq!((report.sent(), report.held(), report.lost()), (0, 0, 100));
}

/// An exporter that neither ends nor looks at the time.
#[derive(Debug)]
struct Endless;

impl SpanExporter for Endless {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        std::future::pending().await
    }
}

#[test]
fn an_export_ends_at_its_timeout() {
    let short = Duration::from_millis(50);
    let spans = pipeline().timeout(short).exporter(Endless).unwrap();
    record(&spans, 20);
    eventually("both batches failed", || spans.snapshot().failed() == 20);
}

/// An exporter that blocks its thread.
#[derive(Debug)]
struct Blocks;

impl SpanExporter for Blocks {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        loop {
            std::thread::park();
        }
    }
}

#[test]
fn a_shutdown_counts_the_spans_of_an_exporter_that_blocks_its_thread() {
    let spans = pipeline().exporter(Blocks).unwrap();
    record(&spans, 50);
    assert!(spans.shutdown(LIMIT).unwrap_err().is_timeout());
    let report = spans.snapshot();
    assert_eq!((report.held(), report.failed()), (0, 50), "{report:?}");
    spans.tracer().start("late").end();
    assert_eq!(spans.snapshot().lost(), 50, "nothing is recorded any more");
}

/// OTLP asks a receiver again that says that it is busy, while there is time; Zipkin does not.
#[test]
fn a_shutdown_counts_spans_that_were_not_sent_in_time_as_lost() {
    let receiver = posts(anywhere(), StatusCode::SERVICE_UNAVAILABLE);
    for start in POSTS {
        let spans = start(sends_at_shutdown(), &receiver.endpoint()).unwrap();
        record(&spans, QUEUE - 1);
        assert!(shut_down(&spans).is_err());
        let report = spans.snapshot();
        let counts = (report.held(), report.sent(), report.failed());
        assert_eq!(counts, (0, 0, QUEUE as u64 - 1), "{report:?}");
    }
}

#[test]
fn a_shutdown_cancels_the_export_in_progress() {
    let spans = pipeline().exporter(Endless).unwrap();
    record(&spans, 50);
    assert!(shut_down(&spans).unwrap_err().is_timeout());
    let report = spans.snapshot();
    assert_eq!((report.held(), report.lost()), (0, 50), "{report:?}");
}

#[test]
fn spans_that_a_receiver_rejects_are_counted() {
    let receiver = posts(anywhere(), StatusCode::BAD_REQUEST);
    for start in POSTS {
        let spans = start(sends_at_shutdown(), &receiver.endpoint()).unwrap();
        record(&spans, 1);
        assert!(!spans.shutdown(60 * LIMIT).unwrap_err().is_timeout());
        let report = spans.snapshot();
        assert_eq!((report.failed(), report.held()), (1, 0));
        assert!(report.last_error().unwrap().contains("400"), "{report:?}");
    }
}

#[test]
fn invalid_settings_are_rejected() {
    let zero = || pipeline().delay(Duration::ZERO);
    let endless = || pipeline().timeout(Duration::MAX);
    for start in STARTS {
        for pipeline in [zero(), endless()] {
            assert!(start(pipeline, "http://127.0.0.1:1").is_err());
        }
        for endpoint in ["", "127.0.0.1:4317", "ftp://127.0.0.1", "https://127.0.0.1"] {
            assert!(start(pipeline(), endpoint).is_err());
        }
    }
}
