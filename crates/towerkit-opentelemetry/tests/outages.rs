//! A receiver that is away, silent, stopped or killed: no call fails or waits, memory is bounded, and what is lost is counted.

mod receiver;

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    num::NonZeroUsize,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use http::StatusCode;
use receiver::{anywhere, eventually, grpc_spans, posts};
use towerkit_opentelemetry::{
    FlushError, SpanPipeline, Spans,
    opentelemetry::trace::{Span, Tracer},
    opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SpanData, SpanExporter},
    },
};

const QUEUE: usize = 100;
const LIMIT: Duration = Duration::from_millis(500);

fn pipeline() -> SpanPipeline {
    let size = |size| NonZeroUsize::new(size).unwrap();
    SpanPipeline::new("shop")
        .queue(size(QUEUE))
        .batch(size(10))
        .delay(Duration::from_millis(20))
        .timeout(Duration::from_millis(200))
}

/// By each protocol.
fn pipelines(endpoint: &str) -> [Spans; 3] {
    [
        pipeline().otlp_grpc(endpoint).unwrap(),
        pipeline().otlp_http(endpoint).unwrap(),
        pipeline().zipkin(endpoint).unwrap(),
    ]
}

/// Records so many spans; none of them may wait.
fn record(spans: &Spans, count: usize) {
    let tracer = spans.tracer();
    let start = Instant::now();
    for _ in 0..count {
        tracer.start("work").end();
        assert!(spans.report().held() <= QUEUE);
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{count} spans took {took:?}");
}

/// Records into what nobody answers; everything is lost, and everything is counted.
fn loses_all(spans: &Spans) -> Result<(), FlushError> {
    const COUNT: usize = 5000;
    record(spans, COUNT);
    let start = Instant::now();
    let result = spans.shutdown(LIMIT);
    assert!(start.elapsed() < 2 * LIMIT);
    eventually("all are counted", || spans.report().held() == 0);
    let report = spans.report();
    assert_eq!(report.sent(), 0);
    assert_eq!(report.lost(), COUNT as u64);
    assert!(report.dropped() > 0 && report.failed() > 0 && report.last_error().is_some());
    result
}

#[test]
fn nobody_listens() {
    let port = TcpListener::bind(anywhere()).unwrap().local_addr().unwrap();
    for spans in pipelines(&format!("http://{port}")) {
        // There may be none left that are still to be sent.
        let _ = loses_all(&spans);
    }
}

#[test]
fn somebody_listens_and_never_answers() {
    let listener = TcpListener::bind(anywhere()).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        // Kept open, and not read from.
        let _connections: Vec<_> = listener.incoming().collect();
    });
    for spans in pipelines(&endpoint) {
        assert!(loses_all(&spans).unwrap_err().is_timeout());
    }
}

/// Waits until so many more are sent, of as many as it takes.
fn arrives(spans: &Spans) {
    let before = spans.report().sent();
    eventually("spans arrive", || {
        record(spans, 1);
        spans.report().sent() > before + 20
    });
}

/// Waits until spans are lost.
fn is_lost(spans: &Spans) {
    let before = spans.report().lost();
    eventually("spans are lost", || {
        record(spans, 5);
        spans.report().lost() > before + 200
    });
}

#[test]
fn a_receiver_is_killed_and_comes_back() {
    let receiver = grpc_spans(anywhere());
    let spans = pipeline().otlp_grpc(&receiver.endpoint()).unwrap();
    arrives(&spans);
    let address = receiver.kill();
    is_lost(&spans);
    let receiver = grpc_spans(address);
    arrives(&spans);
    spans.shutdown(20 * LIMIT).unwrap();
    assert_eq!(spans.report().held(), 0);
    assert!(!receiver.received().is_empty());
}

#[test]
fn a_receiver_over_http_is_killed_and_comes_back() {
    for start in [SpanPipeline::otlp_http, SpanPipeline::zipkin] {
        let receiver = posts(anywhere(), StatusCode::OK);
        let spans = start(pipeline(), &receiver.endpoint()).unwrap();
        arrives(&spans);
        let address = receiver.kill();
        is_lost(&spans);
        let _receiver = posts(address, StatusCode::OK);
        arrives(&spans);
        spans.shutdown(20 * LIMIT).unwrap();
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
fn an_exporter_that_panics_takes_its_pipeline_along_and_nothing_else() {
    let spans = pipeline().exporter(Panics).unwrap();
    record(&spans, 50);
    eventually("all are counted", || spans.report().held() == 0);
    record(&spans, 50);
    assert!(spans.shutdown(LIMIT).is_err());
    let report = spans.report();
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
fn an_export_that_does_not_end_is_given_up() {
    let spans = pipeline().exporter(Endless).unwrap();
    record(&spans, 20);
    eventually("both batches failed", || spans.report().failed() == 20);
}

#[test]
fn a_shutdown_gives_up_what_is_being_sent() {
    let minute = Duration::from_secs(60);
    let spans = pipeline().timeout(minute).exporter(Endless).unwrap();
    record(&spans, 50);
    let start = Instant::now();
    assert!(spans.shutdown(LIMIT).unwrap_err().is_timeout());
    eventually("all are counted", || spans.report().held() == 0);
    assert!(start.elapsed() < minute / 2);
    assert_eq!(spans.report().lost(), 50);
}

const PROCESS: &str = "TOWERKIT_TEST_RECEIVER";

/// Receives until it is killed, where the test below asks for it; otherwise it does nothing.
#[test]
fn a_process_that_receives() {
    if std::env::var_os(PROCESS).is_none() {
        return;
    }
    let receiver = grpc_spans(anywhere());
    println!("\nreceiver {}", receiver.endpoint());
    // Its parent holds the other end, for as long as it lives.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

struct Process(Child);

impl Process {
    fn start() -> (Self, String) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_that_receives", "--nocapture"])
            .env(PROCESS, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let endpoint =
            lines.find_map(|line| Some(line.unwrap().strip_prefix("receiver ")?.to_owned()));
        (Self(child), endpoint.unwrap())
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_receiver_is_stopped_and_goes_on() {
    let (process, endpoint) = Process::start();
    let spans = pipeline().otlp_grpc(&endpoint).unwrap();
    arrives(&spans);
    process.signal("-STOP");
    is_lost(&spans);
    process.signal("-CONT");
    arrives(&spans);
    process.signal("-STOP");
    record(&spans, 50);
    let start = Instant::now();
    assert!(spans.shutdown(LIMIT).unwrap_err().is_timeout());
    assert!(start.elapsed() < 2 * LIMIT);
}
