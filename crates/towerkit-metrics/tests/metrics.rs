//! The layer, as who reads its metrics sees it.

mod scrape;

use std::{convert::Infallible, fmt::Debug, thread, time::Duration};

use axum::{Router, body::HttpBody, routing::get};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use scrape::Scraped;
use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_core::{BoxError, Clock, LayerExt, Reason, Rejection, stack};
use towerkit_http::{Http, HttpExt};
use towerkit_metrics::{Buckets, MetricsLayer, Registry};
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_test::{Act, Probe};

const HTTP: &str = "http_server_request_duration_seconds_count";
const HTTP_ACTIVE: &str = "http_server_active_requests";
const RPC: &str = "rpc_server_call_duration_seconds_count";
const RPC_ACTIVE: &str = "rpc_server_active_calls";
const PLAIN: &str = "towerkit_call_duration_seconds_count";
const DROPPED: &str = "towerkit_metrics_dropped_total";

fn recorded() -> (MetricsLayer, Registry) {
    let registry = Registry::new();
    (MetricsLayer::new().registry(registry.clone()), registry)
}

/// Answers with the status that the body of the request says.
async fn answer(request: Request<u16>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::from("done"));
    *response.status_mut() = StatusCode::from_u16(*request.body()).unwrap();
    Ok(response)
}

/// Answers with the gRPC code that the body of the request says.
async fn answer_grpc(request: Request<u16>) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", *request.body());
    Ok(response.body(Full::default()).unwrap())
}

fn request(method: &str, uri: &str, code: u16) -> Request<u16> {
    let request = Request::builder().method(method).uri(uri);
    request.body(code).unwrap()
}

/// Calls, and reads the response to its end.
async fn serve<S, B>(service: &S, request: Request<u16>)
where
    S: Service<Request<u16>, Response = Response<B>, Error = Infallible> + Clone,
    B: HttpBody<Error: Debug>,
{
    let response = service.clone().oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
}

fn ended<'a>(
    method: &'a str,
    route: &'a str,
    code: &'a str,
    outcome: &'a str,
) -> [(&'static str, &'a str); 4] {
    [
        ("http_request_method", method),
        ("http_route", route),
        ("http_response_status_code", code),
        ("outcome", outcome),
    ]
}

fn ended_rpc<'a>(method: &'a str, code: &'a str, outcome: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("rpc_system_name", "grpc"),
        ("rpc_method", method),
        ("rpc_response_status_code", code),
        ("outcome", outcome),
    ]
}

/// The whole of what one call leaves behind.
#[tokio::test]
async fn a_plain_call_is_counted_and_timed() {
    let (layer, registry) = recorded();
    let (clock, hand) = Clock::manual();
    let buckets = Buckets::new([0.25, 1.0]).unwrap();
    let layer = layer.buckets(buckets).clock(clock).plain("uppercase");
    let service = layer.layer(service_fn(|word: &'static str| {
        hand.advance(Duration::from_millis(500));
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
# HELP towerkit_calls_active Calls that are not over yet.
# TYPE towerkit_calls_active gauge
towerkit_calls_active{operation=\"uppercase\"} 0
";
    assert_eq!(registry.render(), expected);
}

/// A8.3, MT-07.
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
    let hour = Act::Sleep(Duration::from_secs(3600));
    let slow = service.clone().oneshot(Request::new(hour));
    let timed_out = tokio::time::timeout(Duration::from_secs(1), slow).await;
    assert!(timed_out.is_err());
    let headed = service.oneshot(Request::new(Act::Succeed)).await.unwrap();
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
async fn a_call_that_a_guard_further_in_refuses_is_counted_as_the_caller_sees_it() {
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
    let rejected = scraped.value("http_server_rejected_requests_total", &rejected);
    assert_eq!(rejected, Some(2.0));
}

/// A8.4: for whatever reason, and over every protocol.
#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let (layer, registry) = recorded();
    let refuse =
        service_fn(
            |reason| async move { Err::<(), BoxError>(Rejection::new(reason, "guard").into()) },
        );
    let plain = layer.clone().plain("op").layer(refuse);
    for (n, reason) in Reason::ALL.into_iter().enumerate() {
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
    for (n, reason) in Reason::ALL.into_iter().enumerate() {
        let labels = [("operation", "op"), ("reason", reason.as_str())];
        let rejected = scraped.value("towerkit_calls_rejected_total", &labels);
        assert_eq!(rejected, Some(n as f64 + 1.0), "{reason}");
    }
    assert_eq!(scraped.all("rpc_client_rejected_calls_total"), [1.0]);
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

/// MT-01: the path of a gRPC request is whatever the caller says.
#[tokio::test]
async fn grpc_methods_that_the_service_does_not_know_share_a_series() {
    let (layer, registry) = recorded();
    let layer = layer.http();
    let service = layer.layer(service_fn(answer_grpc));
    for path in 0..2000 {
        let mut unknown = request("POST", &format!("/{path}/x"), 12);
        let grpc = http::HeaderValue::from_static("application/grpc");
        unknown.headers_mut().insert("content-type", grpc);
        serve(&service, unknown).await;
    }
    let scraped = Scraped::of(&registry);
    let labels = ended_rpc("_OTHER", "UNIMPLEMENTED", "failure");
    assert_eq!(scraped.value(RPC, &labels), Some(2000.0));
    assert_eq!(scraped.series(RPC), 1);
    assert_eq!(scraped.all(RPC_ACTIVE), [0.0]);
    assert_eq!(scraped.all(DROPPED), [0.0; 1]);
    assert_eq!(layer.handle().operations(), 0);
}

/// MT-01: random paths, methods and hosts against two routes of axum.
#[tokio::test]
async fn the_series_of_a_router_are_bounded() {
    const REQUESTS: u64 = if cfg!(debug_assertions) {
        3_000
    } else {
        1_000_000
    };
    let (layer, registry) = recorded();
    let mut router = Router::new()
        .route("/users/{id}", get(|| async { "user" }))
        .route("/count", get(|| async { "count" }))
        .layer(layer.axum());
    for n in 0..REQUESTS {
        let method = ["GET", "POST", "BREW", "get"][n as usize % 4];
        let method = if n % 5 == 0 { &format!("M{n}") } else { method };
        let path = ["users", "count", "admin"][n as usize % 3];
        let request = Request::builder()
            .method(method)
            .uri(format!("/{path}/{n}"))
            .header("host", format!("h{n}.example"))
            .body(axum::body::Body::empty());
        let response = router.call(request.unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    let scraped = Scraped::of(&registry);
    let metric = HTTP;
    assert_eq!(
        scraped.values_of(metric, "http_route"),
        ["/users/{id}", "unmatched"]
    );
    assert_eq!(
        scraped.values_of(metric, "http_request_method"),
        ["GET", "POST", "_OTHER"]
    );
    assert_eq!(scraped.all(metric).iter().sum::<f64>(), REQUESTS as f64);
    // Two labels of routes, three of methods; 200 or 405 with a route, 404 without.
    assert_eq!(scraped.series(metric), 6);
    assert_eq!(scraped.all(HTTP_ACTIVE), [0.0; 6]);
}

/// MT-02: names without bounds are capped.
#[tokio::test]
async fn operations_beyond_the_cap_share_a_series_and_are_counted() {
    let (layer, registry) = recorded();
    let http = Http::new().operation(|head| head.uri.path());
    let layer = layer.max_operations(10).protocol(http);
    let service = layer.layer(service_fn(answer));
    for _ in 0..2 {
        for path in 0..100 {
            serve(&service, request("GET", &format!("/{path}"), 200)).await;
        }
    }
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.series(HTTP), 11);
    let other = ended("GET", "_OTHER", "200", "success");
    assert_eq!(scraped.value(HTTP, &other), Some(180.0));
    assert_eq!(
        scraped.value(HTTP, &ended("GET", "/9", "200", "success")),
        Some(2.0)
    );
    let metric = [("metric", "http_server_request_duration_seconds")];
    assert_eq!(scraped.value(DROPPED, &metric), Some(180.0));
    assert_eq!(layer.handle().operations(), 10);
    assert_eq!(layer.handle().dropped(), 180);
}

/// A proxy passes on whatever status its upstream gives.
#[tokio::test]
async fn statuses_beyond_the_cap_share_a_series_for_each_outcome() {
    let (layer, registry) = recorded();
    let service = layer.http().layer(service_fn(answer));
    for code in 200..800 {
        serve(&service, request("GET", "/", code)).await;
    }
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.all(HTTP).iter().sum::<f64>(), 600.0);
    assert!(scraped.series(HTTP) <= 16 + 6, "{}", scraped.series(HTTP));
    let other = ended("GET", "unmatched", "_OTHER", "success");
    assert_eq!(scraped.value(HTTP, &other), Some(200.0 - 16.0));
}

#[tokio::test]
async fn a_client_has_metrics_of_its_own() {
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
        "rpc_client_active_calls",
        "rpc_client_call_duration_seconds",
    ];
    assert_eq!(scraped.names(), expected);
    let templates = scraped.values_of("http_client_active_requests", "url_template");
    assert_eq!(templates, ["/users/{id}"]);
    let methods = scraped.values_of("rpc_client_active_calls", "rpc_method");
    assert_eq!(methods, ["shop.Orders/Place"]);
}

/// A8.6
#[tokio::test]
async fn two_services_of_a_process_can_be_told_apart_or_added_up() {
    let (here, one) = recorded();
    let (there, other) = recorded();
    let also_there = MetricsLayer::new().registry(other.clone());
    for layer in [here, there, also_there] {
        let service = layer.plain("op").layer(Probe::new());
        service.oneshot(Act::Succeed).await.unwrap();
    }
    let count = |registry| Scraped::of(registry).all(PLAIN);
    assert_eq!(count(&one), [1.0]);
    assert_eq!(count(&other), [2.0]);
}

/// A name that is taken costs the metric and nothing else.
#[tokio::test]
async fn calls_are_served_though_the_registry_refuses_the_metric() {
    let (layer, registry) = recorded();
    let taken = registry.counter("towerkit_calls_active", "", &[]);
    taken.unwrap().add(7);
    let service = layer.plain("op").layer(Probe::new());
    service.oneshot(Act::Succeed).await.unwrap();
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
