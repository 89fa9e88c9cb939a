//! What a call of a handler allocates.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tower::Service;
use towerkit_endpoint::{RpcError, endpoint_fn};
use towerkit_transport_http::{Json, serve};

use crate::wire::post;

#[derive(Deserialize)]
struct SumRequest {
    a: i64,
    b: i64,
}

#[derive(Serialize)]
struct SumReply {
    v: i64,
}

/// A call with a small JSON message allocates:
///
/// 1. the text of the response, by `serde_json::to_vec`, which starts with 128 bytes;
/// 2. the shared part of its `Bytes`, because the text does not fill its allocation;
/// 3. two vectors of the response's header map, for its content type.
///
/// The head, the body and the extensions of the request are moved to the endpoint.
#[test]
fn a_small_message_takes_few_allocations() {
    let sum = endpoint_fn((), |(), SumRequest { a, b }| async move {
        Ok::<_, RpcError>(SumReply { v: a + b })
    });
    let mut handler = serve("sum", Json, sum);
    let mut call = |request| {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(response)) = pin!(handler.call(request)).poll(&mut cx) else {
            panic!("the handler is ready at once");
        };
        let mut body = response.into_body();
        let Poll::Ready(Some(Ok(frame))) = pin!(body.frame()).poll(&mut cx) else {
            panic!("the body is ready at once");
        };
        assert_eq!(frame.into_data().unwrap(), r#"{"v":3}"#);
    };
    call(post(r#"{"a":1,"b":2}"#));
    let request = post(r#"{"a":1,"b":2}"#);
    let seen = measure(move || call(request));
    assert_eq!(seen.count_total, 4);
}
