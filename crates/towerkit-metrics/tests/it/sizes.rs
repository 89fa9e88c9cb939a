//! The optional metrics: the time to the head, and the sizes of bodies (MT-07).

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_core::{Clock, LayerExt, stack};
use towerkit_http::{Http, HttpExt};
use towerkit_metrics::{Buckets, MetricsLayer, Registry};
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_test::{Action, Probe};

use crate::scrape::Scraped;

const HEAD: &str = "towerkit_http_server_time_to_head_seconds";
const REQUEST: &str = "http_server_request_body_size_bytes";
const RESPONSE: &str = "http_server_response_body_size_bytes";

fn recorded() -> (MetricsLayer, Registry) {
    let registry = Registry::new();
    (MetricsLayer::new().registry(registry.clone()), registry)
}

fn post(length: Option<&str>) -> Request<()> {
    let mut request = Request::post("/words");
    if let Some(length) = length {
        request = request.header("content-length", length);
    }
    request.body(()).unwrap()
}

async fn answer(_: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("twelve bytes")))
}

/// The sum and the count of a histogram's only series.
fn only(registry: &Registry, name: &str) -> Option<(f64, f64)> {
    let scraped = Scraped::of(registry);
    let one = |part| match *scraped.all(&format!("{name}{part}")) {
        [] => None,
        [value] => Some(value),
        ref more => panic!("{name}: {more:?}"),
    };
    Some((one("_sum")?, one("_count")?))
}

#[tokio::test]
async fn the_head_and_the_end_of_the_body_are_timed_separately() {
    let (layer, registry) = recorded();
    let (clock, clock_control) = Clock::manual();
    let layer = layer.time_to_head().clock(clock).http();
    let service = layer.layer(service_fn(|request| {
        clock_control.advance(Duration::from_millis(250));
        answer(request)
    }));
    let response = service.oneshot(post(None)).await.unwrap();
    assert_eq!(only(&registry, HEAD), Some((0.25, 1.0)));
    clock_control.advance(Duration::from_millis(500));
    response.into_body().collect().await.unwrap();
    let duration = "http_server_request_duration_seconds";
    assert_eq!(only(&registry, duration), Some((0.75, 1.0)));
    assert_eq!(only(&registry, HEAD), Some((0.25, 1.0)));
    let labels = [("http_request_method", "POST"), ("http_route", "unmatched")];
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.value(&format!("{HEAD}_count"), &labels), Some(1.0));
}

/// MT-04
#[tokio::test(start_paused = true)]
async fn a_call_without_a_head_has_no_time_to_it_and_no_size_of_a_response() {
    let (layer, registry) = recorded();
    let layer = layer.time_to_head().body_sizes(Buckets::bytes()).http();
    let service = layer.layer(Probe::new());
    let mut request = Request::new(Action::Sleep(Duration::from_secs(3600)));
    request
        .headers_mut()
        .insert("content-length", http::HeaderValue::from_static("7"));
    let slow = service.oneshot(request);
    let timed_out = tokio::time::timeout(Duration::from_secs(1), slow).await;
    assert!(timed_out.is_err());
    assert_eq!(only(&registry, HEAD), Some((0.0, 0.0)));
    assert_eq!(only(&registry, REQUEST), Some((7.0, 1.0)));
    assert_eq!(only(&registry, RESPONSE), Some((0.0, 0.0)));
}

#[tokio::test]
async fn bodies_are_measured_as_declared_and_as_delivered() {
    let (layer, registry) = recorded();
    let http = Http::new().operation(|_| "/words");
    let layer = layer.body_sizes(Buckets::bytes()).protocol(http);
    let service = layer.layer(service_fn(answer));
    for length in [Some("300"), Some("0"), None, Some("nonsense")] {
        let response = service.clone().oneshot(post(length)).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    // Dropped before its first frame was delivered.
    drop(service.oneshot(post(None)).await.unwrap());
    let scraped = Scraped::of(&registry);
    let ended = |name: &str, part, outcome| {
        let labels = [
            ("http_request_method", "POST"),
            ("http_route", "/words"),
            ("http_response_status_code", "200"),
            ("outcome", outcome),
        ];
        scraped.value(&format!("{name}_{part}"), &labels)
    };
    assert_eq!(ended(REQUEST, "count", "success"), Some(2.0));
    assert_eq!(ended(REQUEST, "sum", "success"), Some(300.0));
    assert_eq!(ended(RESPONSE, "count", "success"), Some(4.0));
    assert_eq!(ended(RESPONSE, "sum", "success"), Some(48.0));
    assert_eq!(ended(RESPONSE, "count", "cancelled"), Some(1.0));
    assert_eq!(ended(RESPONSE, "sum", "cancelled"), Some(0.0));
}

#[tokio::test]
async fn a_rejection_has_a_size_only_where_its_body_is_seen() {
    let rejecting = || {
        let (clock, _hand) = Clock::manual();
        let limit = RateLimitLayer::new(Quota::per_second(1).unwrap());
        limit.clock(clock)
    };
    let (layer, registry) = recorded();
    let layer = layer.body_sizes(Buckets::bytes());
    let policies = stack((layer, rejecting())).http().layer(service_fn(answer));
    for _ in 0..2 {
        let response = policies.clone().oneshot(post(None)).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    let sizes = |registry| Scraped::of(registry).all(&format!("{RESPONSE}_count"));
    assert_eq!(sizes(&registry), [1.0, 0.0]);
    let (layer, registry) = recorded();
    let layer = layer.body_sizes(Buckets::bytes()).http();
    let apart = layer.layer(rejecting().http().layer(service_fn(answer)));
    for _ in 0..2 {
        let response = apart.clone().oneshot(post(None)).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(sizes(&registry), [1.0, 1.0]);
}

#[tokio::test]
async fn grpc_has_a_time_to_the_head_and_the_size_of_a_response() {
    let (layer, registry) = recorded();
    let layer = layer
        .client()
        .time_to_head()
        .body_sizes(Buckets::bytes())
        .grpc();
    let service = layer.layer(service_fn(|_: Request<()>| async {
        let response = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", 0);
        Ok::<_, Infallible>(response.body(Full::<Bytes>::from("eight by")).unwrap())
    }));
    let response = service.oneshot(post(Some("5"))).await.unwrap();
    response.into_body().collect().await.unwrap();
    let scraped = Scraped::of(&registry);
    let expected = [
        "rpc_client_call_duration_seconds",
        "towerkit_rpc_client_active_calls",
        "towerkit_rpc_client_response_size_bytes",
        "towerkit_rpc_client_time_to_head_seconds",
    ];
    assert_eq!(scraped.names(), expected);
    let sizes = only(&registry, "towerkit_rpc_client_response_size_bytes");
    assert_eq!(sizes, Some((8.0, 1.0)));
    let (_, heads) = only(&registry, "towerkit_rpc_client_time_to_head_seconds").unwrap();
    assert_eq!(heads, 1.0);
}

#[tokio::test]
async fn a_plain_call_has_no_time_to_the_head_and_no_size() {
    let (layer, registry) = recorded();
    let layer = layer.time_to_head().body_sizes(Buckets::bytes());
    let service = layer.plain("op").layer(Probe::new());
    service.oneshot(Action::Succeed).await.unwrap();
    let expected = ["towerkit_call_duration_seconds", "towerkit_calls_active"];
    assert_eq!(Scraped::of(&registry).names(), expected);
}
