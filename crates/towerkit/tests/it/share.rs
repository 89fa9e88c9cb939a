//! Cache and coalesce around an axum router, where one layer serves all routes and all connections.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use http::{Request, Response, header};
use tower::ServiceExt;
use towerkit::{
    cache::{CacheLayer, Capacity, Lifetime},
    coalesce::CoalesceLayer,
    core::{LayerExt, OperationSet},
    http::{HttpExt, RequestKey},
};
use towerkit_test::run_paused;

fn request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

async fn body(router: &Router, request: Request<Body>) -> String {
    let response = router.clone().oneshot(request).await.unwrap();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    String::from_utf8(bytes.unwrap().to_vec()).unwrap()
}

#[test]
fn one_layer_serves_all_routes() {
    run_paused(async {
        let calls = Arc::new(AtomicU32::new(0));
        let answer = |name: &'static str| {
            let calls = calls.clone();
            get(async move || {
                tokio::time::sleep(Duration::from_millis(50)).await;
                format!("{name} {}", calls.fetch_add(1, Ordering::Relaxed))
            })
        };
        let lifetime = Lifetime::new(Duration::from_secs(60)).unwrap();
        let cache = CacheLayer::new(lifetime, Capacity::bytes(1 << 20).unwrap(), RequestKey::of);
        let handle = cache.handle();
        let router = Router::new()
            .route("/a", answer("a"))
            .route("/b", answer("b"))
            .layer(CoalesceLayer::new(RequestKey::of).http())
            .layer(cache.http());

        let (one, same) = tokio::join!(body(&router, request("/a")), body(&router, request("/a")));
        assert_eq!((one.as_str(), same.as_str()), ("a 0", "a 0"));
        assert_eq!(body(&router, request("/b")).await, "b 1");
        assert_eq!(body(&router, request("/a")).await, "a 0");
        let mut ann = request("/a");
        ann.headers_mut()
            .insert(header::AUTHORIZATION, "Bearer ann".parse().unwrap());
        assert_eq!(body(&router, ann).await, "a 2");

        handle.invalidate(&RequestKey::of(&request("/a")).unwrap());
        assert_eq!(body(&router, request("/a")).await, "a 3");
        assert_eq!(body(&router, request("/b")).await, "b 1");
    });
}

#[test]
fn operations_are_selected_by_their_route() {
    run_paused(async {
        let calls = Arc::new(AtomicU32::new(0));
        let answer = async move || calls.fetch_add(1, Ordering::Relaxed).to_string();
        let lifetime = Lifetime::new(Duration::from_secs(60)).unwrap();
        let capacity = Capacity::entries(10).unwrap();
        let cache = CacheLayer::new(lifetime, capacity, RequestKey::of).axum();
        let router = Router::new()
            .route("/kept/{id}", get(answer.clone()))
            .route("/other/{id}", get(answer))
            .layer(cache.only(OperationSet::exact("/kept/{id}")));
        assert_eq!(body(&router, request("/kept/1")).await, "0");
        assert_eq!(body(&router, request("/kept/1")).await, "0");
        assert_eq!(body(&router, request("/kept/2")).await, "1");
        assert_eq!(body(&router, request("/other/1")).await, "2");
        assert_eq!(body(&router, request("/other/1")).await, "3");
    });
}

/// A response whose body ends before the length that its head declares.
fn broken_off(calls: &AtomicU32) -> Response<Body> {
    let body = format!("broken off {}", calls.fetch_add(1, Ordering::Relaxed));
    let frames = futures_util::stream::iter([Ok::<_, Infallible>(body)]);
    let response = Response::builder().header(header::CONTENT_LENGTH, "100");
    response.body(Body::from_stream(frames)).unwrap()
}

/// hyper aborts the connection of such a response: a copy of it would do the same to callers whose own call may succeed.
#[test]
fn an_answer_that_breaks_off_is_neither_cached_nor_shared() {
    run_paused(async {
        let calls = Arc::new(AtomicU32::new(0));
        let broken = {
            let calls = calls.clone();
            get(async move || {
                tokio::time::sleep(Duration::from_millis(50)).await;
                broken_off(&calls)
            })
        };
        let lifetime = Lifetime::new(Duration::from_secs(60)).unwrap();
        let cache = CacheLayer::new(lifetime, Capacity::bytes(1 << 20).unwrap(), RequestKey::of);
        let cached = Router::new().route("/", broken.clone()).layer(cache.http());
        assert_eq!(body(&cached, request("/")).await, "broken off 0");
        assert_eq!(body(&cached, request("/")).await, "broken off 1");

        let coalesced = Router::new()
            .route("/", broken)
            .layer(CoalesceLayer::new(RequestKey::of).http());
        let one = body(&coalesced, request("/"));
        let other = body(&coalesced, request("/"));
        let (one, other) = tokio::join!(one, other);
        assert_ne!(one, other, "each has an answer of its own");
    });
}
