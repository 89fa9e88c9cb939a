//! The message has no `serde::Deserialize`.

use towerkit::{
    endpoint::{RpcError, endpoint_fn},
    transport_http::{Json, serve},
};

struct SumRequest;

fn main() {
    let sum = endpoint_fn((), |(), _: SumRequest| async { Ok::<_, RpcError>(3) });
    let sum = axum::routing::post_service(serve("sum", Json, sum));
    let _: axum::Router = axum::Router::new().route("/sum", sum);
}
