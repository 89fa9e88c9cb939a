//! MT-09: a scrape of 10,000 series while calls are recorded.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Instant,
};

use http::{Request, Response};
use http_body_util::Empty;
use tower::{Layer, Service, service_fn};
use towerkit_core::LayerExt;
use towerkit_http::Http;
use towerkit_metrics::{MetricsLayer, Registry};

use crate::{scrape::open::Open, served::recorded};

const OPERATIONS: u64 = 1000;
const STATUSES: u64 = 10;

/// Calls operations in turn until it is told to stop, each of them with ten statuses.
fn call_until(layer: MetricsLayer, stop: &AtomicBool, calls: &AtomicU64) {
    let http = Http::new().operation(|head| head.uri.path());
    let layer = layer.protocol(http);
    let mut service = layer.layer(service_fn(|request: Request<u16>| async move {
        let response = Response::builder().status(*request.body());
        Ok::<_, Infallible>(response.body(Empty::<bytes::Bytes>::new()).unwrap())
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    for n in 0.. {
        let request = Request::get(format!("/{}", n % OPERATIONS));
        let code = 200 + (n / OPERATIONS % STATUSES) as u16;
        let call = service.call(request.body(code).unwrap());
        // An empty body is over with its head.
        runtime.block_on(call).unwrap();
        calls.fetch_add(1, Relaxed);
        if stop.load(Relaxed) {
            return;
        }
    }
}

/// Every series has buckets that rise up to its count.
fn assert_consistent(registry: &Registry) {
    let text = registry.render();
    let mut series = 0;
    let mut last = 0;
    for line in text
        .lines()
        .filter(|line| line.contains("_duration_seconds"))
    {
        let count = || line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        if line.contains("_bucket{") {
            if line.contains("le=\"0.005\"") {
                last = 0;
            }
            assert!(count() >= last, "{line}");
            last = count();
        } else if line.contains("_count{") {
            assert_eq!(count(), last, "{line}");
            series += 1;
        }
    }
    assert_eq!(series, OPERATIONS * STATUSES);
}

/// 20,000 calls a second are recorded meanwhile. The times are for a release build on an idle machine.
#[test]
#[ignore = "measures time"]
fn a_scrape_of_ten_thousand_series_takes_a_tenth_of_a_second() {
    let (layer, registry) = recorded();
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| call_until(layer, &stop, &calls));
        while calls.load(Relaxed) < OPERATIONS * STATUSES {
            thread::yield_now();
        }
        let (begun, before) = (Instant::now(), calls.load(Relaxed));
        let mut slowest = 0.0_f64;
        for _ in 0..10 {
            let scrape = Instant::now();
            let text = [registry.render(), registry.render_open_metrics()];
            slowest = slowest.max(scrape.elapsed().as_secs_f64() / 2.0);
            assert!(text.iter().all(|text| text.len() > 1_000_000));
        }
        let rate = (calls.load(Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
        assert_consistent(&registry);
        stop.store(true, Relaxed);
        println!("{:.1} ms a scrape, {rate:.0} calls a second", slowest * 1e3);
        if cfg!(not(debug_assertions)) {
            assert!(slowest < 0.1, "{slowest} s");
            assert!(rate > 20_000.0, "{rate} calls a second");
        }
    });
    // At rest both formats say the same.
    let (text, open) = (
        registry.snapshot(),
        Open::parse(&registry.render_open_metrics()),
    );
    assert_eq!(
        text.families()[1].samples().len() as u64,
        OPERATIONS * STATUSES
    );
    let total = |name: &str| {
        let named = open.samples.iter().filter(|sample| sample.name == name);
        named.map(|sample| sample.value).sum::<f64>()
    };
    let calls = calls.load(Relaxed) as f64;
    assert_eq!(total("http_server_request_duration_seconds_count"), calls);
    assert_eq!(total("http_server_active_requests"), 0.0);
}
