use std::sync::Arc;

use axum::{
    Router,
    http::StatusCode,
    response::Response,
    routing::{MethodRouter, post_service},
};
use serde::{Serialize, de::DeserializeOwned};
use towerkit::{
    http::Problem,
    transport_http::{Json, serve},
};

use crate::{
    CountResponse, Endpoint, StringRequest, StringService, UppercaseResponse, count, uppercase,
};

/// The longest request body, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// Routes HTTP to the endpoints of `service`.
pub fn routes(service: Arc<impl StringService>) -> Router {
    routes_to(uppercase(service.clone()), count(service))
}

/// Routes HTTP to endpoints.
pub fn routes_to(
    uppercase: impl Endpoint<StringRequest, Response = UppercaseResponse>,
    count: impl Endpoint<StringRequest, Response = CountResponse>,
) -> Router {
    Router::new()
        .route("/uppercase", route("uppercase", uppercase))
        .route("/count", route("count", count))
        .method_not_allowed_fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED))
        .fallback(async || problem(StatusCode::NOT_FOUND))
}

/// Serves an endpoint over HTTP, with messages and responses in JSON.
fn route<T, U>(operation: &'static str, endpoint: impl Endpoint<T, Response = U>) -> MethodRouter
where
    T: DeserializeOwned + Send + 'static,
    U: Serialize + 'static,
{
    post_service(serve(operation, Json, endpoint).body_limit(MAX_BODY))
}

/// Makes a response with problem details of which the status says all.
pub(crate) fn problem(status: StatusCode) -> Response {
    Problem::new(status).respond()
}
