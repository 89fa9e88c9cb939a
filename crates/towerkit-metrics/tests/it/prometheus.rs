//! The formats, read by Prometheus itself: by its checker `promtool`, and by a server that scrapes.

use std::{convert::Infallible, io::Write, process::Stdio, thread, time::Duration};

use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::{net::TcpListener, runtime};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_core::{EventSink, LayerExt, Rejection, RejectionReason, TraceIds};
use towerkit_http::HttpExt;
use towerkit_metrics::{Buckets, MetricsLayer, Registry};
use towerkit_programs::{Prometheus, command};

/// Label values that are hard to write.
const ODD: [&str; 7] = [
    "",
    "\\",
    "a \"quoted\" word",
    "two\nlines\\n",
    "{a=\"b\"} 1 # {} 2",
    "ünï \u{2028}\u{1F980}",
    "\t\r\0",
];

/// A registry with every kind of metric that this crate knows, and with odd labels.
fn everything() -> Registry {
    let registry = Registry::new();
    for (n, odd) in ODD.into_iter().enumerate() {
        let counter = registry.counter("odd_total", "Odd \\ \"labels\"\n.", &[("odd", odd)]);
        counter.unwrap().add(n as u64 + 1);
    }
    let values = registry.histogram("values", "Any.", &[], &Buckets::new([-1.0, 1.0]).unwrap());
    let values = values.unwrap();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.5] {
        values.observe(value);
    }
    for event in towerkit_test::all_events("search") {
        registry.emit(&event);
    }
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(call(&registry));
    registry
}

/// Calls over every protocol, on both sides, one of them rejected.
async fn call(registry: &Registry) {
    let served = service_fn(|_: Request<()>| async {
        let response = Response::builder().header("content-type", "application/grpc");
        Ok::<_, Infallible>(response.body(Full::<Bytes>::from("body")).unwrap())
    });
    let rejected = service_fn(|()| async {
        Err::<(), _>(Rejection::new(RejectionReason::CircuitOpen, "guard"))
    });
    let server = MetricsLayer::new().registry(registry.clone());
    let server = server.time_to_head().body_sizes(Buckets::bytes());
    for layer in [server.clone(), server.client()] {
        let request = || {
            let request = Request::post("/shop.Orders/Place").header("content-length", 4);
            request.body(()).unwrap()
        };
        let http = layer.clone().http().layer(served).oneshot(request());
        http.await.unwrap().into_body().collect().await.unwrap();
        let grpc = layer.clone().grpc().layer(served).oneshot(request());
        grpc.await.unwrap().into_body().collect().await.unwrap();
        let plain = layer.plain("op").layer(rejected).oneshot(());
        assert!(plain.await.is_err());
    }
}

/// Waits until it is so, for at most a minute.
fn until(what: &str, is_so: impl Fn() -> bool) {
    towerkit_programs::until(what, Duration::from_secs(60), || is_so().then_some(()));
}

/// A8.1, MT-03
#[test]
#[ignore = "needs promtool"]
fn promtool_accepts_the_output() {
    let mut promtool = command("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed");
    let text = everything().render();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// MT-03: the server stores the observed values with their exemplars, which shows that it chose OpenMetrics.
#[test]
#[ignore = "needs prometheus"]
fn prometheus_stores_the_observed_values() {
    let registry = everything();
    let waits = registry.histogram("wait_seconds", "Waits.", &[], &Buckets::default());
    let ids = TraceIds {
        trace: [0xab; 16],
        span: [0xcd; 8],
        flags: TraceIds::SAMPLED,
    };
    TraceIds::enter(Some(ids), || waits.unwrap().observe(0.2));
    let (send, address) = std::sync::mpsc::channel();
    let metrics = registry.service();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            send.send(listener.local_addr().unwrap()).unwrap();
            let router = Router::new().route_service("/metrics", metrics);
            axum::serve(listener, router).await.unwrap();
        });
    });
    let prometheus = Prometheus::start(address.recv().unwrap(), None);
    let result = |query: &str| prometheus.query(query);
    until("all series are stored", || {
        result("odd_total").len() == ODD.len()
    });
    for series in result("odd_total") {
        let odd = series["metric"]["odd"].as_str().unwrap_or_default();
        let n = ODD.iter().position(|known| *known == odd).expect(odd);
        assert_eq!(series["value"][1], (n + 1).to_string());
    }
    let waited = result("wait_seconds_sum");
    assert_eq!(waited[0]["value"][1], "0.2");
    let exemplars = "query_exemplars?query=wait_seconds_bucket&start=0&end=99999999999";
    until("the exemplar is stored", || {
        let data = prometheus.data(exemplars);
        data.is_some_and(|data| !data[0]["exemplars"].is_null())
    });
    let exemplar = &prometheus.data(exemplars).unwrap()[0]["exemplars"][0];
    assert_eq!(exemplar["labels"]["trace_id"], "ab".repeat(16));
    assert_eq!(exemplar["labels"]["span_id"], "cd".repeat(8));
    assert_eq!(exemplar["value"], "0.2");
    let metadata = prometheus.data("metadata?metric=wait_seconds").unwrap();
    let metadata = &metadata["wait_seconds"][0];
    assert_eq!(metadata["type"], "histogram");
    assert_eq!(
        (&metadata["help"], &metadata["unit"]),
        (&"Waits.".into(), &"seconds".into())
    );
}
