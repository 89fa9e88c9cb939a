use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use tower::ServiceExt;
use tower_service::Service;
use towerkit_core::{ErrorCode, ProtocolKind};
use towerkit_endpoint::{Endpoint, IntoRpcError, Request, RpcError, call_fn, endpoint};

/// A method as the layers of [`JsonRpc::layer`](crate::JsonRpc::layer) see it: its parameters and its result are JSON.
///
/// The parameters are an array or an object, or `null` if a call has none.
pub type RawEndpoint = Endpoint<Box<RawValue>, Box<RawValue>, RpcError>;

/// Makes a method of an endpoint: decodes the parameters, calls the endpoint, and encodes its response.
pub(crate) fn method<S, T>(typed: S) -> RawEndpoint
where
    S: Service<Request<T>, Response: Serialize, Error: IntoRpcError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    T: DeserializeOwned + Send + 'static,
{
    endpoint(call_fn(
        typed,
        |typed: S, request: Request<Box<RawValue>>| async move {
            let message = decode(&request.message).map_err(|error| {
                // The text of the error names types of the program.
                RpcError::new(ErrorCode::InvalidArgument, "Invalid params").with_source(error)
            })?;
            let mut request = request.map(|_| message);
            // The layers around the endpoint are the same over every transport.
            request.protocol = ProtocolKind::Plain;
            let result = typed.oneshot(request).await;
            let response = result.map_err(IntoRpcError::into_rpc_error)?;
            to_raw_value(&response).map_err(|error| RpcError::internal().with_source(error))
        },
    ))
}

/// Makes the method that calls of unknown methods go to, so that layers see these calls as well.
pub(crate) fn unknown_method() -> RawEndpoint {
    endpoint(call_fn((), |(), _request: Request<Box<RawValue>>| async {
        Err(RpcError::new(ErrorCode::Unimplemented, "Method not found"))
    }))
}

/// Decodes parameters.
///
/// Parameters without a value are the same in each form, so that `()`, an `Option`, a `Vec` and a struct of defaults all accept each:
/// many clients cannot leave them out, and send `[]`.
fn decode<T: DeserializeOwned>(params: &RawValue) -> Result<T, serde_json::Error> {
    let decoded = serde_json::from_str(params.get());
    if decoded.is_ok() || !is_empty(params.get()) {
        return decoded;
    }
    let others = ["null", "{}", "[]"].into_iter();
    let mut others = others.filter_map(|params| serde_json::from_str(params).ok());
    others.next().map_or(decoded, Ok)
}

/// Returns true for `null`, `[]` and `{}`.
fn is_empty(json: &str) -> bool {
    let inside = json.get(1..json.len() - 1).unwrap_or_default();
    json == "null" || (json.starts_with(['[', '{']) && inside.trim_ascii().is_empty())
}
