//! Handlers.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Service, ServiceExt};
use towerkit_endpoint::{RpcError, endpoint_fn};
use towerkit_transport_http::{Json, ResponseBody, serve};

async fn call<S>(service: S, request: Request<Full<Bytes>>) -> (Response<()>, Bytes)
where
    S: Service<Request<Full<Bytes>>, Response = Response<ResponseBody>, Error = Infallible>,
{
    let Ok(response) = service.oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(head, ()), body)
}

fn post(body: &str) -> Request<Full<Bytes>> {
    let body = Full::from(body.to_owned());
    Request::post("/double").body(body).unwrap()
}

/// GK-HS-5
#[tokio::test]
async fn a_request_is_decoded_and_its_response_encoded() {
    let double = endpoint_fn((), |(), n: u32| async move {
        Ok::<_, RpcError>(json!({ "v": 2 * n }))
    });
    let handler = serve("double", Json, double).method(Method::POST);
    let (head, body) = call(handler, post("4")).await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-type"], "application/json");
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap(),
        json!({ "v": 8 })
    );
}
