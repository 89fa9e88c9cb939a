use bytes::Bytes;
use http::{Response, Uri};
use http_body::Body;
use http_body_util::Full;
use tower::{Service, ServiceExt};
use towerkit::{
    core::BoxError,
    endpoint::{RpcExt, endpoint},
    timeout::DeadlineInjectLayer,
    transport_jsonrpc::{JsonRpc, client},
};

use crate::Endpoints;

/// Serves the endpoints as the methods `sum` and `concat`.
pub(crate) fn methods(endpoints: Endpoints) -> JsonRpc {
    JsonRpc::new()
        .method("sum", endpoints.sum)
        .method("concat", endpoints.concat)
}

/// Makes the endpoints of a client that sends requests by `http` to `uri`, such as `http://localhost:8081/rpc`.
///
/// # Errors
///
/// Returns an error if `uri` is not a URI.
pub fn json_rpc_client<H, B>(http: H, uri: &str) -> Result<Endpoints, BoxError>
where
    H: Service<http::Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let uri = Uri::try_from(uri)?;
    // The server gets the time that is left, and passes it on.
    let deadline = DeadlineInjectLayer::new().rpc();
    let sum = client(http.clone(), uri.clone(), "sum").layer(&deadline);
    let concat = client(http, uri, "concat").layer(&deadline);
    Ok(Endpoints {
        sum: endpoint(sum.map_err(Into::into)),
        concat: endpoint(concat.map_err(Into::into)),
    })
}
