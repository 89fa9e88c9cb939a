//! A server with some methods, and a caller of it.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde::{Serialize, Serializer};
use serde_json::{Value, value::RawValue};
use tower::{Service, ServiceExt};
use towerkit_core::ErrorCode;
use towerkit_endpoint::{RpcError, endpoint_fn};
use towerkit_transport_http::ResponseBody;
use towerkit_transport_jsonrpc::JsonRpc;

/// A response of which the encoding fails.
pub(crate) struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("oof"))
    }
}

/// Returns a server with a method for each kind of result, and the number of calls of `count`.
pub(crate) fn server() -> (JsonRpc, Arc<AtomicUsize>) {
    let echo = endpoint_fn((), |(), params: Box<RawValue>| async move {
        Ok::<_, RpcError>(params)
    });
    let fail = endpoint_fn((), |(), (code,): (u16,)| async move {
        let code = ErrorCode::from_number(code).unwrap();
        Err::<(), _>(RpcError::new(code, "sorry"))
    });
    let panic = endpoint_fn((), |(), ()| async move {
        if true {
            panic!("a secret");
        }
        Ok::<_, RpcError>(())
    });
    let unencodable = endpoint_fn((), |(), ()| async move { Ok::<_, RpcError>(Unencodable) });
    let counter = Arc::new(AtomicUsize::new(0));
    let count = endpoint_fn(counter.clone(), |counter, _: Value| async move {
        Ok::<_, RpcError>(counter.fetch_add(1, Ordering::Relaxed) + 1)
    });
    let server = JsonRpc::new()
        .method("echo", echo)
        .method("fail", fail)
        .method("panic", panic)
        .method("unencodable", unencodable)
        .method("count", count);
    (server, counter)
}

pub(crate) fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/rpc").body(Full::new(body.into())).unwrap()
}

pub(crate) async fn send<S>(server: &S, request: Request<Full<Bytes>>) -> (Response<()>, Bytes)
where
    S: Service<Request<Full<Bytes>>, Response = Response<ResponseBody>, Error = Infallible> + Clone,
{
    let Ok(response) = server.clone().oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(head, ()), body)
}

/// Sends a body, and returns that of the response; `None` if it is 204 without a body.
pub(crate) async fn call(server: &JsonRpc, body: impl Into<Bytes>) -> Option<String> {
    let (head, body) = send(server, post(body)).await;
    if head.status() == 204 {
        assert!(body.is_empty());
        assert!(!head.headers().contains_key("content-type"));
        return None;
    }
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-type"], "application/json");
    Some(String::from_utf8(body.into()).unwrap())
}

/// Sends a body, and returns the JSON of the response.
pub(crate) async fn call_json(server: &JsonRpc, body: impl Into<Bytes>) -> Value {
    let body = call(server, body).await.expect("a response with a body");
    serde_json::from_str(&body).unwrap()
}

/// Sends a body, and returns the number of the error, which has no id.
pub(crate) async fn refused(server: &JsonRpc, body: impl Into<Bytes>) -> i64 {
    let response = call_json(server, body).await;
    assert_eq!(response["jsonrpc"], "2.0");
    assert_eq!(response.get("id"), Some(&Value::Null));
    assert_eq!(response.get("result"), None);
    response["error"]["code"].as_i64().unwrap()
}
