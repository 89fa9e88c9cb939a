//! The service that Prometheus asks.

use axum::{Router, body::Body};
use http::{
    Request, StatusCode,
    header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::BodyExt;
use tower::ServiceExt;
use towerkit_metrics::Registry;

use crate::scrape::Scraped;

/// A8.1
#[tokio::test]
async fn a_router_serves_the_metrics() {
    let registry = Registry::new();
    let router = Router::new().route_service("/metrics", registry.service());
    let words = registry.counter("words_total", "Wörter.", &[]);
    words.unwrap().add(3);
    let response = router.oneshot(Request::get("/metrics").body(Body::empty()).unwrap());
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let content_type = &response.headers()[CONTENT_TYPE];
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let scraped = Scraped::parse(std::str::from_utf8(&body).unwrap());
    assert_eq!(scraped.value("words_total", &[]), Some(3.0));
    assert_eq!(scraped.help("words_total"), Some("Wörter."));
}

#[tokio::test]
async fn only_get_and_head_are_allowed() {
    let service = Registry::new().service();
    let call = |method: &str| {
        service
            .clone()
            .oneshot(Request::builder().method(method).body(()).unwrap())
    };
    let head = call("HEAD").await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    let page = call("GET").await.unwrap();
    let length = page.into_body().collect().await.unwrap().to_bytes().len();
    assert_eq!(head.headers()[CONTENT_LENGTH], length.to_string());
    assert!(http_body::Body::is_end_stream(head.body()));
    let refused = call("POST").await.unwrap();
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers()[ALLOW], "GET, HEAD");
}
