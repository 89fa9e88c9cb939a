//! Operations in axum are the matched routes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, routing::get};
use http::{Extensions, HeaderMap, Method, Request, Uri};
use tower::{Layer, ServiceExt};
use towerkit_core::{Call, CallEnd, LayerExt, Observer, OperationSet as Only, Policy, observe};
use towerkit_http::{HttpExt, PeerAddress};

#[derive(Default)]
struct OperationSet(Mutex<Vec<String>>);

impl Policy for OperationSet {
    type CallState = ();

    fn finish(&self, _state: (), _end: &CallEnd) {}
}

impl<Req> Observer<Req> for OperationSet {
    fn start(&self, call: &mut Call<'_, Req>) {
        let operation = call.operation().to_owned();
        self.0.lock().unwrap().push(operation);
    }
}

/// MT-01: raw paths never become names.
#[tokio::test]
async fn the_operation_is_the_route_and_never_the_path() {
    let operations = Arc::new(OperationSet::default());
    let app = Router::new()
        .route("/users/{id}", get(async || "user"))
        .layer(observe(operations.clone()).axum());
    for path in ["/users/1", "/users/2", "/no/such/path"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let _ = app.clone().oneshot(request).await;
    }
    let seen = operations.0.lock().unwrap().clone();
    assert_eq!(seen, ["/users/{id}", "/users/{id}", "unmatched"]);
}

/// axum knows no route below `nest_service`, so that the prefix names the operation.
#[tokio::test]
async fn below_nest_service_the_operation_is_the_prefix() {
    let operations = Arc::new(OperationSet::default());
    let layer = || observe(operations.clone()).axum();
    let routed = Router::new().route("/users/{id}", get(async || "user"));
    let app = Router::new()
        .nest_service("/files", layer().layer(get(async || "file")))
        .nest_service("/v1/{tenant}", routed.layer(layer()));
    let app = Router::new().nest("/api", app);
    for path in ["/api/files/a/b", "/api/v1/acme/users/1", "/api/v1/acme/no"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let _ = app.clone().oneshot(request).await;
    }
    let seen = operations.0.lock().unwrap().clone();
    let expected = [
        "/api/files",
        "/api/v1/{tenant}/users/{id}",
        "/api/v1/{tenant}",
    ];
    assert_eq!(seen, expected);
}

/// The parts of a request that an observer can read, for any body.
struct Parts;

impl Policy for Parts {
    type CallState = ();

    fn finish(&self, _state: (), _end: &CallEnd) {}
}

impl<Req> Observer<Req> for Parts {
    fn start(&self, call: &mut Call<'_, Req>) {
        assert_eq!(call.path(), Some("/users/1"));
        let peer = SocketAddr::from(([192, 0, 2, 1], 443));
        assert_eq!(call.peer(), Some(peer));
        assert_eq!(call.part::<HeaderMap>().unwrap()["x-tenant"], "acme");
        let extensions = call.part::<Extensions>().unwrap();
        assert_eq!(extensions.get(), Some(&PeerAddress(peer)));
        assert_eq!(call.part::<Method>(), Some(&Method::POST));
        assert_eq!(call.part::<Uri>().unwrap().query(), Some("q"));
        assert_eq!(call.part::<String>(), None);
    }
}

#[tokio::test]
async fn an_observer_sees_the_parts_of_a_request() {
    let request = || {
        let peer = PeerAddress(SocketAddr::from(([192, 0, 2, 1], 443)));
        let request = Request::post("/users/1?q").header("x-tenant", "acme");
        request.extension(peer).body(Body::empty()).unwrap()
    };
    let inner = get(async || "user");
    let http = observe(Parts).http().layer(inner.clone());
    http.oneshot(request()).await.unwrap();
    let grpc = observe(Parts).grpc().layer(inner.clone());
    grpc.oneshot(request()).await.unwrap();
    let only = observe(Parts).http().only(Only::pattern("*")).layer(inner);
    only.oneshot(request()).await.unwrap();
}

/// Records if a route matched, which the name alone does not tell.
#[derive(Default)]
struct Routed(Mutex<Vec<bool>>);

impl Policy for Routed {
    type CallState = ();

    fn finish(&self, _state: (), _end: &CallEnd) {}
}

impl<Req> Observer<Req> for Routed {
    fn start(&self, call: &mut Call<'_, Req>) {
        self.0.lock().unwrap().push(call.is_routed());
    }
}

#[tokio::test]
async fn a_call_tells_if_a_route_matched() {
    let routed = Arc::new(Routed::default());
    let app = Router::new()
        .route("/users/{id}", get(async || "user"))
        .nest_service(
            "/files",
            observe(routed.clone()).axum().layer(get(async || "")),
        )
        .route_layer(observe(routed.clone()).axum());
    for path in ["/users/1", "/files/a"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let _ = app.clone().oneshot(request).await;
    }
    let inner = get(async || "user");
    let unrouted = observe(routed.clone()).http().layer(inner.clone());
    unrouted.oneshot(Request::new(Body::empty())).await.unwrap();
    let grpc = observe(routed.clone()).grpc().layer(inner);
    grpc.oneshot(Request::new(Body::empty())).await.unwrap();
    let seen = routed.0.lock().unwrap().clone();
    // Twice for the nested service: the layer around the router sees no prefix yet.
    assert_eq!(seen, [true, false, false, false, true]);
}
