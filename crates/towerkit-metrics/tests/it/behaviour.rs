//! The metrics of the layer, as a scraper reads them.

use std::{convert::Infallible, thread, time::Duration};

use http::Request;

use crate::scrape::Scraped;
use crate::served::{
    DROPPED, HTTP, HTTP_ACTIVE, PLAIN, RPC, RPC_ACTIVE, answer, answer_grpc, ended, ended_rpc,
    recorded, request, serve,
};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_core::{BoxError, Clock, LayerExt, Rejection, RejectionReason, stack};
use towerkit_http::{Http, HttpExt};
use towerkit_metrics::{Buckets, MetricsLayer};
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_test::{Action, Probe};

/// All metrics of one call.
#[tokio::test]
async fn a_plain_call_is_counted_and_timed() {
    let (layer, registry) = recorded();
    let (clock, clock_control) = Clock::manual();
    let buckets = Buckets::new([0.25, 1.0]).unwrap();
    let layer = layer.buckets(buckets).clock(clock).plain("uppercase");
    let service = layer.layer(service_fn(|word: &'static str| {
        clock_control.advance(Duration::from_millis(500));
        async move { Ok::<_, Infallible>(word.to_uppercase()) }
    }));
    assert_eq!(service.oneshot("abc").await.unwrap(), "ABC");
    let expected = "\
# HELP towerkit_call_duration_seconds Duration of calls.
# TYPE towerkit_call_duration_seconds histogram
towerkit_call_duration_seconds_bucket{operation=\"uppercase\",outcome=\"success\",le=\"0.25\"} 0
towerkit_call_duration_seconds_bucket{operation=\"uppercase\",outcome=\"success\",le=\"1\"} 1
towerkit_call_duration_seconds_bucket{operation=\"uppercase\",outcome=\"success\",le=\"+Inf\"} 1
towerkit_call_duration_seconds_sum{operation=\"uppercase\",outcome=\"success\"} 0.5
towerkit_call_duration_seconds_count{operation=\"uppercase\",outcome=\"success\"} 1
# HELP towerkit_calls_active Calls in flight.
# TYPE towerkit_calls_active gauge
towerkit_calls_active{operation=\"uppercase\"} 0
";
    assert_eq!(registry.render(), expected);
}

/// A8.2, A8.3, MT-07.
#[tokio::test]
async fn http_requests_are_counted_by_method_route_status_and_outcome() {
    let (layer, registry) = recorded();
    let http = Http::new().operation(|head| match head.uri.path() {
        "/count" => "/count",
        _ => "/users/{id}",
    });
    let service = layer.protocol(http).layer(service_fn(answer));
    for code in [200, 200, 200, 404, 404, 500] {
        serve(&service, request("GET", "/users/7", code)).await;
    }
    serve(&service, request("POST", "/count", 201)).await;
    serve(&service, request("PROPFIND", "/count", 200)).await;
    let scraped = Scraped::of(&registry);
    let users = |code, outcome| scraped.value(HTTP, &ended("GET", "/users/{id}", code, outcome));
    assert_eq!(users("200", "success"), Some(3.0));
    assert_eq!(users("404", "client_error"), Some(2.0));
    assert_eq!(users("500", "failure"), Some(1.0));
    let count = |method, code| scraped.value(HTTP, &ended(method, "/count", code, "success"));
    assert_eq!(count("POST", "201"), Some(1.0));
    assert_eq!(count("_OTHER", "200"), Some(1.0));
    assert_eq!(scraped.all(HTTP_ACTIVE), [0.0; 3]);
}

/// A cancelled call has no status, unless its head had one.
#[tokio::test(start_paused = true)]
async fn a_cancelled_call_is_counted_without_a_made_up_status() {
    let (layer, registry) = recorded();
    let service = layer.http().layer(Probe::new());
    let hour = Action::Sleep(Duration::from_secs(3600));
    let slow = service.clone().oneshot(Request::new(hour));
    let timed_out = tokio::time::timeout(Duration::from_secs(1), slow).await;
    assert!(timed_out.is_err());
    let headed = service
        .oneshot(Request::new(Action::Succeed))
        .await
        .unwrap();
    let active = || Scraped::of(&registry).all(HTTP_ACTIVE);
    assert_eq!(active(), [1.0]);
    drop(headed);
    assert_eq!(active(), [0.0]);
    let scraped = Scraped::of(&registry);
    let cancelled = |code| scraped.value(HTTP, &ended("GET", "unmatched", code, "cancelled"));
    assert_eq!(cancelled(""), Some(1.0));
    assert_eq!(cancelled("200"), Some(1.0));
}

/// A8.4
#[tokio::test]
async fn a_rejection_by_an_inner_guard_is_counted_with_the_response_status() {
    let (metrics, registry) = recorded();
    let (clock, _hand) = Clock::manual();
    let limit = RateLimitLayer::new(Quota::per_second(1).unwrap()).clock(clock);
    let service = stack((metrics, limit)).http().layer(service_fn(answer));
    for _ in 0..3 {
        serve(&service, request("GET", "/", 200)).await;
    }
    let scraped = Scraped::of(&registry);
    let counted = |code, outcome| scraped.value(HTTP, &ended("GET", "unmatched", code, outcome));
    assert_eq!(counted("200", "success"), Some(1.0));
    assert_eq!(counted("429", "overloaded"), Some(2.0));
    assert_eq!(scraped.all(HTTP_ACTIVE), [0.0]);
    let rejected = [
        ("http_request_method", "GET"),
        ("http_route", "unmatched"),
        ("reason", "rate_limited"),
    ];
    let rejected = scraped.value("towerkit_http_server_rejected_requests_total", &rejected);
    assert_eq!(rejected, Some(2.0));
}

/// A8.4: for whatever reason, and over every protocol.
#[tokio::test]
async fn rejections_are_counted_by_reason() {
    let (layer, registry) = recorded();
    let reject =
        service_fn(
            |reason| async move { Err::<(), BoxError>(Rejection::new(reason, "guard").into()) },
        );
    let plain = layer.clone().plain("op").layer(reject);
    for (n, reason) in RejectionReason::ALL.into_iter().enumerate() {
        for _ in 0..=n {
            assert!(plain.clone().oneshot(reason).await.is_err());
        }
    }
    let limit = RateLimitLayer::new(Quota::per_second(1).unwrap());
    let (clock, _hand) = Clock::manual();
    let grpc = stack((layer.client(), limit.clock(clock)));
    let grpc = grpc.grpc().layer(service_fn(answer_grpc));
    for _ in 0..2 {
        serve(&grpc, request("POST", "/shop.Orders/Place", 0)).await;
    }
    let scraped = Scraped::of(&registry);
    for (n, reason) in RejectionReason::ALL.into_iter().enumerate() {
        let labels = [("operation", "op"), ("reason", reason.as_str())];
        let rejected = scraped.value("towerkit_calls_rejected_total", &labels);
        assert_eq!(rejected, Some(n as f64 + 1.0), "{reason}");
    }
    assert_eq!(
        scraped.all("towerkit_rpc_client_rejected_calls_total"),
        [1.0]
    );
}

/// MT-07: the full method without a slash, and the code by its name.
#[tokio::test]
async fn grpc_calls_are_counted_by_method_and_code() {
    let (layer, registry) = recorded();
    let service = layer.grpc().layer(service_fn(answer_grpc));
    for code in [0, 0, 4] {
        serve(&service, request("POST", "/shop.Orders/Place", code)).await;
    }
    let scraped = Scraped::of(&registry);
    let counted = |code, outcome| {
        let labels = ended_rpc("shop.Orders/Place", code, outcome);
        scraped.value(RPC, &labels)
    };
    assert_eq!(counted("OK", "success"), Some(2.0));
    assert_eq!(counted("DEADLINE_EXCEEDED", "timed_out"), Some(1.0));
    let active = scraped.value(
        RPC_ACTIVE,
        &[
            ("rpc_system_name", "grpc"),
            ("rpc_method", "shop.Orders/Place"),
        ],
    );
    assert_eq!(active, Some(0.0));
}

#[tokio::test]
async fn a_client_has_separate_metrics() {
    let (layer, registry) = recorded();
    let layer = layer.client();
    let http = Http::new().operation(|_| "/users/{id}");
    let service = layer.clone().protocol(http).layer(service_fn(answer));
    serve(&service, request("GET", "/users/7", 200)).await;
    let grpc = layer.grpc().layer(service_fn(answer_grpc));
    // A client's own methods need no proof.
    serve(&grpc, request("POST", "/shop.Orders/Place", 12)).await;
    let scraped = Scraped::of(&registry);
    let expected = [
        "http_client_active_requests",
        "http_client_request_duration_seconds",
        "rpc_client_call_duration_seconds",
        "towerkit_rpc_client_active_calls",
    ];
    assert_eq!(scraped.names(), expected);
    let templates = scraped.values_of("http_client_active_requests", "url_template");
    assert_eq!(templates, ["/users/{id}"]);
    let methods = scraped.values_of("towerkit_rpc_client_active_calls", "rpc_method");
    assert_eq!(methods, ["shop.Orders/Place"]);
}

/// A8.6
#[tokio::test]
async fn two_services_can_have_separate_or_shared_registries() {
    let (here, one) = recorded();
    let (there, other) = recorded();
    let also_there = MetricsLayer::new().registry(other.clone());
    for layer in [here, there, also_there] {
        let service = layer.plain("op").layer(Probe::new());
        service.oneshot(Action::Succeed).await.unwrap();
    }
    let count = |registry| Scraped::of(registry).all(PLAIN);
    assert_eq!(count(&one), [1.0]);
    assert_eq!(count(&other), [2.0]);
}

/// A name that is already taken loses only its metric.
#[tokio::test]
async fn calls_succeed_if_the_registry_rejects_a_metric() {
    let (layer, registry) = recorded();
    let taken = registry.counter("towerkit_calls_active", "", &[]);
    taken.unwrap().add(7);
    let service = layer.plain("op").layer(Probe::new());
    service.oneshot(Action::Succeed).await.unwrap();
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.value("towerkit_calls_active", &[]), Some(7.0));
    assert_eq!(scraped.all(PLAIN), [1.0]);
}

/// MT-05, through the layer: also when series are new to all threads at once.
#[test]
fn calls_from_many_threads_are_counted_exactly() {
    const EACH: u16 = if cfg!(debug_assertions) { 500 } else { 50_000 };
    let (layer, registry) = recorded();
    let http = Http::new().operation(|head| head.uri.path());
    let service = layer.protocol(http).layer(service_fn(answer));
    thread::scope(|scope| {
        for _ in 0..64 {
            let service = service.clone();
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                runtime.unwrap().block_on(async {
                    for n in 0..EACH {
                        let path = format!("/{}", n % 50);
                        serve(&service, request("GET", &path, 200 + n % 3)).await;
                    }
                });
            });
        }
    });
    let scraped = Scraped::of(&registry);
    assert_eq!(
        scraped.all(HTTP).iter().sum::<f64>(),
        64.0 * f64::from(EACH)
    );
    assert_eq!(scraped.series(HTTP), 150);
    assert_eq!(scraped.all(HTTP_ACTIVE), [0.0; 50]);
    assert_eq!(scraped.all(DROPPED), [0.0; 0]);
}
