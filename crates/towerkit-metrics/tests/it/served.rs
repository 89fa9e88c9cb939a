//! Services that answer as they are asked, and the labels under which their calls are counted.

use std::{convert::Infallible, fmt::Debug};

use axum::body::HttpBody;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceExt};
use towerkit_metrics::{MetricsLayer, Registry};

pub(crate) const HTTP: &str = "http_server_request_duration_seconds_count";
pub(crate) const HTTP_ACTIVE: &str = "http_server_active_requests";
pub(crate) const RPC: &str = "rpc_server_call_duration_seconds_count";
pub(crate) const RPC_ACTIVE: &str = "towerkit_rpc_server_active_calls";
pub(crate) const PLAIN: &str = "towerkit_call_duration_seconds_count";
pub(crate) const DROPPED: &str = "towerkit_metrics_dropped_total";

pub(crate) fn recorded() -> (MetricsLayer, Registry) {
    let registry = Registry::new();
    (MetricsLayer::new().registry(registry.clone()), registry)
}

/// Answers with the status that the body of the request says.
pub(crate) async fn answer(request: Request<u16>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::from("done"));
    *response.status_mut() = StatusCode::from_u16(*request.body()).unwrap();
    Ok(response)
}

/// Answers with the gRPC code that the body of the request says.
pub(crate) async fn answer_grpc(
    request: Request<u16>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", *request.body());
    Ok(response.body(Full::default()).unwrap())
}

pub(crate) fn request(method: &str, uri: &str, code: u16) -> Request<u16> {
    let request = Request::builder().method(method).uri(uri);
    request.body(code).unwrap()
}

/// Calls, and reads the response to its end.
pub(crate) async fn serve<S, B>(service: &S, request: Request<u16>)
where
    S: Service<Request<u16>, Response = Response<B>, Error = Infallible> + Clone,
    B: HttpBody<Error: Debug>,
{
    let response = service.clone().oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
}

pub(crate) fn ended<'a>(
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

pub(crate) fn ended_rpc<'a>(
    method: &'a str,
    code: &'a str,
    outcome: &'a str,
) -> [(&'static str, &'a str); 4] {
    [
        ("rpc_system_name", "grpc"),
        ("rpc_method", method),
        ("rpc_status_code", code),
        ("outcome", outcome),
    ]
}
