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

/// A client that says in which trace it calls.
type TracedClient = Trace<Client<HttpConnector, Full<Bytes>>, Http>;

/// One call that is to be made.
#[derive(Debug, Deserialize)]
struct Errand {
    url: String,
    arguments: Value,
}

/// Makes the service.
pub fn app() -> Router {
    let client = Client::builder(TokioExecutor::new()).build_http();
    Router::new()
        .route("/test", post(relay))
        .with_state(TraceLayer::client().http().layer(client))
        .layer(TraceLayer::server().axum())
}

async fn relay(State(client): State<TracedClient>, body: Bytes) -> StatusCode {
    let Ok(errands) = serde_json::from_slice::<Vec<Errand>>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    for errand in errands {
        if run(client.clone(), errand).await.is_err() {
            return StatusCode::BAD_GATEWAY;
        }
    }
    StatusCode::OK
}

async fn run(client: TracedClient, errand: Errand) -> Result<(), BoxError> {
    let arguments = serde_json::to_vec(&errand.arguments)?;
    let request = Request::post(errand.url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(arguments))?;
    let response = client.oneshot(request).await?;
    response.into_body().collect().await?;
    Ok(())
}
