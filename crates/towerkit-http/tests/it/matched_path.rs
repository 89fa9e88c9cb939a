//! Operations in axum are the matched routes.

use std::sync::Mutex;

use axum::{Router, routing::get};
use http::Request;
use tower::ServiceExt;
use towerkit_core::{Call, End, Observer, Policy, observe};
use towerkit_http::HttpExt;

#[derive(Default)]
struct Operations(Mutex<Vec<String>>);

impl Policy for Operations {
    type Held = ();

    fn finish(&self, _held: (), _end: &End) {}
}

impl<Req> Observer<Req> for Operations {
    fn start(&self, call: &mut Call<'_, Req>) {
        let operation = call.operation().to_owned();
        self.0.lock().unwrap().push(operation);
    }
}

/// MT-01, as the protocol reads it: raw paths never become names.
#[tokio::test]
async fn the_operation_is_the_route_and_never_the_path() {
    let operations = std::sync::Arc::new(Operations::default());
    let app = Router::new()
        .route("/users/{id}", get(async || "user"))
        .layer(observe(operations.clone()).axum());
    for path in ["/users/1", "/users/2", "/no/such/path"] {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let _ = app.clone().oneshot(request).await;
    }
    let seen = operations.0.lock().unwrap().clone();
    assert_eq!(seen, ["/users/{id}", "/users/{id}", "unmatched"]);
}
