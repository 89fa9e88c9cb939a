//! Under `.axum()`, layers that do not track the end of calls keep axum's own response bodies.

use axum::{Router, body::Body, response::Response, routing::get};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_core::{
    AsGuard, Call, CallEnd, False, Guard, Observer, Plain, Policy, PolicyLayer, Rejection,
    RejectionReason, observe,
};
use towerkit_http::{HttpExt, TrackedBody};

#[derive(Clone)]
struct Admits(bool);

impl Policy for Admits {
    type CallState = ();
    const NEEDS_END: bool = false;
    fn finish(&self, _state: (), _end: &CallEnd) {}
}

impl<Req> Guard<Req> for Admits {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        let rejection = Rejection::new(RejectionReason::RateLimited, "test");
        if self.0 { Ok(()) } else { Err(rejection) }
    }
}

struct Watches;

impl Policy for Watches {
    type CallState = ();
    fn finish(&self, _state: (), _end: &CallEnd) {}
}

impl<Req> Observer<Req> for Watches {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

fn admits(admits: bool) -> PolicyLayer<AsGuard<Admits, False>, Plain> {
    PolicyLayer::new(AsGuard::new(Admits(admits)), Plain::default())
}

fn request() -> Request<Body> {
    Request::new(Body::empty())
}

/// Checks the type of the body at compile time.
async fn answer<S>(service: S) -> Response
where
    S: Service<Request<Body>, Response = Response, Error: std::fmt::Debug>,
{
    service.oneshot(request()).await.unwrap()
}

async fn hello(_: Request<Body>) -> Result<Response, std::io::Error> {
    Ok(Response::new(Body::from("hello")))
}

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn an_untracked_response_keeps_its_body() {
    let response = answer(admits(true).axum().layer(service_fn(hello))).await;
    assert_eq!(text(response).await, "hello");
    let response = answer(admits(false).axum().layer(service_fn(hello))).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.extensions().get::<Rejection>().is_some());
    assert!(text(response).await.contains("rate_limited"));
}

#[tokio::test]
async fn an_untracked_body_of_another_type_becomes_axums() {
    let full = service_fn(async |_: Request<Body>| {
        let body = http_body_util::Full::new(bytes::Bytes::from("hello"));
        Ok::<_, std::io::Error>(http::Response::new(body))
    });
    assert_eq!(
        text(answer(admits(true).axum().layer(full)).await).await,
        "hello"
    );
}

#[tokio::test]
async fn a_tracked_response_has_a_tracked_body() {
    let service = towerkit_core::stack((admits(true), observe(Watches)))
        .axum()
        .layer(service_fn(hello));
    fn tracked<B: http_body::Body, R: towerkit_core::PolicyShape>(
        _: &http::Response<TrackedBody<B, R>>,
    ) {
    }
    let response = service.oneshot(request()).await.unwrap();
    tracked(&response);
}

#[tokio::test]
async fn both_body_types_fit_routers() {
    let app = Router::new()
        .route("/", get(async || "hello"))
        .layer(admits(true).axum())
        .layer(observe(Watches).axum());
    let response = app.oneshot(request()).await.unwrap();
    assert_eq!(text(response).await, "hello");
}
