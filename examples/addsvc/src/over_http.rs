use axum::{Router, routing::post_service};
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::Full;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tower::{Layer, Service, ServiceExt};
use towerkit::{
    core::BoxError,
    endpoint::{IntoRpcError, RpcError, RpcExt, endpoint},
    timeout::DeadlineInjectLayer,
    transport_http::{Json, ResponseBody, client, problem, serve},
};

use crate::{AddEndpoint, Endpoints};

/// Routes HTTP to the endpoints: `POST /sum` and `POST /concat`.
pub fn http_routes(endpoints: Endpoints, go_kit_errors: bool) -> Router {
    let encode = if go_kit_errors { go_kit_error } else { problem };
    let sum = serve("sum", Json, endpoints.sum).errors(encode);
    let concat = serve("concat", Json, endpoints.concat).errors(encode);
    Router::new()
        .route("/sum", post_service(sum))
        .route("/concat", post_service(concat))
}

/// Encodes an error as go-kit's addsvc does, but with the status of its code.
fn go_kit_error(error: &RpcError) -> Response<ResponseBody> {
    let json = json!({ "error": error.message() }).to_string();
    let mut response = Response::new(ResponseBody::from(Bytes::from(json)));
    let status = StatusCode::from_u16(error.http_status());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Makes the endpoints of a client that sends requests by `http` to `base`, such as `http://localhost:8081`.
///
/// # Errors
///
/// Returns an error if `base` is not the URI of a server.
pub fn http_client<H, B>(http: H, base: &str) -> Result<Endpoints, BoxError>
where
    H: Service<http::Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    Ok(Endpoints {
        sum: method(http.clone(), &format!("{base}/sum"))?,
        concat: method(http, &format!("{base}/concat"))?,
    })
}

fn method<H, B, T, U>(http: H, uri: &str) -> Result<AddEndpoint<T, U>, BoxError>
where
    H: Service<http::Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    T: Serialize + Send + 'static,
    U: DeserializeOwned + Send + 'static,
{
    let uri = Uri::try_from(uri)?;
    let client = client(http, Method::POST, uri, Json);
    // The server gets the time that is left, and passes it on.
    let client = DeadlineInjectLayer::new().rpc().layer(client);
    Ok(endpoint(client.map_err(Into::into)))
}
