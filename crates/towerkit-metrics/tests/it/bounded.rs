//! Memory is bounded, whatever callers send.

use allocation_counter::measure;
use axum::{Router, body::Body, routing::get};
use http::Request;
use http_body_util::BodyExt;

use tower::{Layer, Service, service_fn};
use towerkit_core::LayerExt;
use towerkit_http::{Http, HttpExt};
use towerkit_metrics::Buckets;

use crate::{
    scrape::Scraped,
    served::{
        DROPPED, HTTP, HTTP_ACTIVE, RPC, RPC_ACTIVE, answer, answer_grpc, ended, ended_rpc,
        recorded, request, serve,
    },
};

/// MT-01, A8.5: random paths, methods and hosts against two routes of axum.
fn a_router_is_asked_for_anything(requests: u64) {
    let (layer, registry) = recorded();
    let mut router = Router::new()
        .route("/users/{id}", get(|| async { "user" }))
        .route("/count", get(|| async { "count" }))
        .layer(layer.axum());
    let mut random = fastrand::Rng::with_seed(1);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    let mut ask = |requests| {
        for _ in 0..requests {
            let response = router.call(anything(&mut random));
            let read = async { response.await.unwrap().into_body().collect().await };
            runtime.block_on(read).unwrap();
        }
    };
    // All series are there after some hundreds of requests, and from then on memory is flat.
    ask(1000);
    let series = Scraped::of(&registry).series(HTTP);
    let info = measure(|| ask(requests));
    assert_eq!((info.count_current, info.bytes_current), (0, 0));
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.series(HTTP), series);
    assert_eq!(
        scraped.values_of(HTTP, "http_route"),
        ["/count", "/users/{id}", "unmatched"]
    );
    assert_eq!(
        scraped.values_of(HTTP, "http_request_method"),
        ["DELETE", "GET", "POST", "_OTHER"]
    );
    let codes = scraped.values_of(HTTP, "http_response_status_code");
    assert_eq!(codes, ["200", "404", "405"]);
    // Each of four methods without a route, and with one of two.
    assert_eq!(series, 4 * (1 + 2));
    assert_eq!(
        scraped.all(HTTP).iter().sum::<f64>(),
        requests as f64 + 1000.0
    );
    assert_eq!(scraped.all(HTTP_ACTIVE), [0.0; 12]);
}

/// Some request, of which hardly any two are alike.
fn anything(random: &mut fastrand::Rng) -> Request<Body> {
    let any = |random: &mut fastrand::Rng| {
        let letters = 1..random.usize(2..20);
        letters.map(|_| random.alphanumeric()).collect::<String>()
    };
    let method = match random.u8(..5) {
        0 => format!("X{}", any(random)),
        n => ["GET", "POST", "DELETE", "get"][usize::from(n) - 1].to_owned(),
    };
    let path = match random.u8(..4) {
        0 => format!("users/{}", any(random)),
        1 => format!("count?{}={}", any(random), any(random)),
        _ => format!("x{}/{}", any(random), any(random)),
    };
    let request = Request::builder()
        .method(&*method)
        .uri(format!("/{path}"))
        .header("host", format!("{}.example", any(random)));
    request.body(Body::empty()).unwrap()
}

#[test]
fn the_series_of_a_router_are_bounded() {
    a_router_is_asked_for_anything(3_000);
}

#[test]
#[ignore = "a million requests"]
fn the_series_of_a_router_are_bounded_for_a_million_requests() {
    a_router_is_asked_for_anything(1_000_000);
}

/// MT-01: the path of a gRPC request is whatever the caller says.
#[tokio::test]
async fn unknown_grpc_methods_share_a_series() {
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
    assert_eq!(layer.handle().snapshot().operations, 0);
}

/// MT-02: names without bounds are capped.
#[tokio::test]
async fn operations_beyond_the_limit_share_a_series_and_are_counted() {
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
    assert_eq!(layer.handle().snapshot().operations, 10);
    assert_eq!(layer.handle().snapshot().overflowed, 180);
}

/// A proxy passes on whatever status its upstream gives.
#[tokio::test]
async fn statuses_beyond_the_limit_share_a_series_for_each_outcome() {
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

/// A handle that is taken before the setters tells of the services all the same.
#[tokio::test]
async fn a_handle_follows_later_setters() {
    let (layer, registry) = recorded();
    let handle = layer.handle();
    let layer = layer.max_operations(1).body_sizes(Buckets::bytes());
    let by_path = Http::new().operation(|head| head.uri.path());
    let layer = layer.protocol(by_path);
    let service = layer.layer(service_fn(answer));
    for path in ["/a", "/b", "/c"] {
        serve(&service, request("GET", path, 200)).await;
    }
    assert_eq!(
        (handle.snapshot().operations, handle.snapshot().overflowed),
        (1, 2)
    );
    // A layer that is changed once it has a service, and a clone that is changed, begin anew.
    let changed = [layer.clone().max_operations(5), layer.time_to_head()];
    assert!(
        changed
            .iter()
            .all(|layer| layer.handle().snapshot().operations == 0)
    );
    assert_eq!(
        (handle.snapshot().operations, handle.snapshot().overflowed),
        (1, 2)
    );
    assert_eq!(Scraped::of(&registry).all(DROPPED), [2.0]);
}
