//! Drivers under `.axum()`: they apply to the routes of a router, and name operations by the matched route.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, response::IntoResponse, routing::get};
use http::{Request, Response, StatusCode};
use tower::{ServiceExt, service_fn};
use towerkit::{
    core::{LayerExt, OperationSet},
    fallback::FallbackLayer,
    hedge::HedgeLayer,
    http::HttpExt,
    retry::RetryLayer,
};
use towerkit_test::run_paused;

async fn send(router: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    (status, String::from_utf8(bytes.unwrap().to_vec()).unwrap())
}

/// A router whose `/items/{id}` and `/other/{id}` respond with the number of the call, the first time with a failure.
fn fails_once() -> Router {
    let calls = Arc::new(AtomicU32::new(0));
    let respond = async move || match calls.fetch_add(1, Ordering::Relaxed) {
        0 => (StatusCode::SERVICE_UNAVAILABLE, "down").into_response(),
        call => call.to_string().into_response(),
    };
    Router::new()
        .route("/items/{id}", get(respond.clone()))
        .route("/other/{id}", get(respond))
}

fn items() -> OperationSet {
    OperationSet::exact("/items/{id}")
}

#[test]
fn a_retry_layer_retries_the_calls_of_a_route() {
    run_paused(async {
        let retry = RetryLayer::new().axum().only(items());
        let router = fails_once().layer(retry.clone());
        assert_eq!(
            send(&router, "/items/1").await,
            (StatusCode::OK, "1".to_owned())
        );
        let router = fails_once().layer(retry);
        let (status, _) = send(&router, "/other/1").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    });
}

#[test]
fn a_hedge_layer_hedges_the_calls_of_a_route() {
    run_paused(async {
        let calls = Arc::new(AtomicU32::new(0));
        let respond = async move || {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            if call == 0 {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            call.to_string()
        };
        let hedge = HedgeLayer::after(Duration::from_millis(100)).unwrap();
        let router = Router::new()
            .route("/items/{id}", get(respond))
            .layer(hedge.axum().only(items()));
        let start = tokio::time::Instant::now();
        assert_eq!(
            send(&router, "/items/1").await,
            (StatusCode::OK, "1".to_owned())
        );
        assert!(start.elapsed() < Duration::from_secs(60));
    });
}

#[test]
fn a_fallback_replaces_the_failures_of_a_route() {
    run_paused(async {
        let other = service_fn(async |_request: Request<Body>| {
            Ok::<_, Infallible>(Response::new(Body::from("fallback")))
        });
        let fallback = FallbackLayer::service(other).axum().only(items());
        let router = fails_once().layer(fallback.clone());
        let expected = (StatusCode::OK, "fallback".to_owned());
        assert_eq!(send(&router, "/items/1").await, expected);
        let router = fails_once().layer(fallback);
        let (status, _) = send(&router, "/other/1").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);

        let replace = |_result, _end: &_| Ok(Response::new(Body::from("function")));
        let fallback = FallbackLayer::function::<Response<Body>, Infallible>(replace);
        let router = fails_once().layer(fallback.axum());
        let expected = (StatusCode::OK, "function".to_owned());
        assert_eq!(send(&router, "/items/1").await, expected);
    });
}
