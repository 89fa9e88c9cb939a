use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use serde_json::Value;
use tower::{Layer, ServiceExt};
use towerkit_core::BoxError;
use towerkit_http::{Http, HttpExt};
use towerkit_trace::{Trace, TraceLayer};

/// A client that sends its trace context.
type TracedClient = Trace<Client<HttpConnector, Full<Bytes>>, Http>;

/// A call that the relay makes.
#[derive(Debug, Deserialize)]
struct OutgoingCall {
    url: String,
    arguments: Value,
}

/// Creates the service.
pub fn app() -> Router {
    let client = Client::builder(TokioExecutor::new()).build_http();
    Router::new()
        .route("/test", post(relay))
        .with_state(TraceLayer::client().http().layer(client))
        .layer(TraceLayer::server().axum())
}

async fn relay(State(client): State<TracedClient>, body: Bytes) -> StatusCode {
    let Ok(calls) = serde_json::from_slice::<Vec<OutgoingCall>>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    for call in calls {
        if run(client.clone(), call).await.is_err() {
            return StatusCode::BAD_GATEWAY;
        }
    }
    StatusCode::OK
}

async fn run(client: TracedClient, call: OutgoingCall) -> Result<(), BoxError> {
    let arguments = serde_json::to_vec(&call.arguments)?;
    let request = Request::post(call.url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(arguments))?;
    let response = client.oneshot(request).await?;
    response.into_body().collect().await?;
    Ok(())
}
