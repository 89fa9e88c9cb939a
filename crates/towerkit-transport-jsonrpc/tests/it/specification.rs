//! The exchanges of the specification, section 7, word for word.

use serde_json::{Value, json};
use towerkit_endpoint::{RpcError, endpoint_fn};
use towerkit_transport_jsonrpc::JsonRpc;

use crate::harness::call;

#[derive(serde::Deserialize)]
struct Subtract {
    minuend: i64,
    subtrahend: i64,
}

fn server() -> JsonRpc {
    let ignore = || endpoint_fn((), |(), _: Value| async { Ok::<_, RpcError>(Value::Null) });
    let subtract = endpoint_fn((), |(), numbers: Subtract| async move {
        Ok::<_, RpcError>(numbers.minuend - numbers.subtrahend)
    });
    let sum = endpoint_fn((), |(), numbers: Vec<i64>| async move {
        Ok::<_, RpcError>(numbers.iter().sum::<i64>())
    });
    let get_data = endpoint_fn((), |(), ()| async {
        Ok::<_, RpcError>(json!(["hello", 5]))
    });
    JsonRpc::new()
        .method("subtract", subtract)
        .method("sum", sum)
        .method("get_data", get_data)
        .method("update", ignore())
        .method("notify_hello", ignore())
        .method("notify_sum", ignore())
}

/// The request and the response of each exchange; an empty response is none.
const EXCHANGES: [(&str, &str); 15] = [
    // rpc call with positional parameters
    (
        r#"{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}"#,
        r#"{"jsonrpc": "2.0", "result": 19, "id": 1}"#,
    ),
    (
        r#"{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}"#,
        r#"{"jsonrpc": "2.0", "result": -19, "id": 2}"#,
    ),
    // rpc call with named parameters
    (
        r#"{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}"#,
        r#"{"jsonrpc": "2.0", "result": 19, "id": 3}"#,
    ),
    (
        r#"{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}"#,
        r#"{"jsonrpc": "2.0", "result": 19, "id": 4}"#,
    ),
    // a Notification
    (
        r#"{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}"#,
        "",
    ),
    (r#"{"jsonrpc": "2.0", "method": "foobar"}"#, ""),
    // rpc call of non-existent method
    (
        r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#,
        r#"{"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "1"}"#,
    ),
    // rpc call with invalid JSON
    (
        r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#,
        r#"{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}"#,
    ),
    // rpc call with invalid Request object
    (
        r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#,
        r#"{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}"#,
    ),
    // rpc call Batch, invalid JSON
    (
        r#"[
  {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
  {"jsonrpc": "2.0", "method"
]"#,
        r#"{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}"#,
    ),
    // rpc call with an empty Array
    (
        "[]",
        r#"{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}"#,
    ),
    // rpc call with an invalid Batch (but not empty)
    (
        "[1]",
        r#"[
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}
]"#,
    ),
    // rpc call with invalid Batch
    (
        "[1,2,3]",
        r#"[
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}
]"#,
    ),
    // rpc call Batch
    (
        r#"[
        {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
    ]"#,
        r#"[
        {"jsonrpc": "2.0", "result": 7, "id": "1"},
        {"jsonrpc": "2.0", "result": 19, "id": "2"},
        {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
        {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "5"},
        {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}
    ]"#,
    ),
    // rpc call Batch (all notifications)
    (
        r#"[
        {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}
    ]"#,
        "",
    ),
];

/// JR-01
#[tokio::test]
async fn the_exchanges_of_the_specification_are_exact() {
    let server = server();
    for (request, response) in EXCHANGES {
        let answered = call(&server, request).await;
        let answered = answered.map(|json| serde_json::from_str::<Value>(&json).unwrap());
        let expected = (!response.is_empty()).then(|| serde_json::from_str(response).unwrap());
        assert_eq!(answered, expected, "{request}");
    }
}
