//! The forms of parameters.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use towerkit_endpoint::{RpcError, endpoint_fn};
use towerkit_transport_jsonrpc::JsonRpc;

use crate::harness::call_json;

/// Decodes parameters to a `T`, and returns it as JSON; `None` if they are invalid.
async fn decoded<T>(params: &str) -> Option<Value>
where
    T: DeserializeOwned + Serialize + Send + 'static,
{
    let echo = endpoint_fn((), |(), value: T| async move { Ok::<_, RpcError>(value) });
    let server = JsonRpc::new().method("echo", echo);
    let body = format!(r#"{{"jsonrpc":"2.0","method":"echo"{params},"id":1}}"#);
    let mut answer = call_json(&server, body).await;
    let error = answer["error"]["code"].take();
    if error.is_null() {
        return Some(answer["result"].take());
    }
    assert_eq!(error, -32602);
    None
}

#[derive(Serialize, Deserialize)]
struct Pair {
    a: i64,
    b: i64,
}

#[tokio::test]
async fn a_struct_is_decoded_by_name_and_by_position() {
    let pair = Some(json!({"a":1,"b":2}));
    assert_eq!(decoded::<Pair>(r#","params":{"b":2,"a":1}"#).await, pair);
    assert_eq!(decoded::<Pair>(r#","params":[1,2]"#).await, pair);
    assert_eq!(
        decoded::<(i64, i64)>(r#","params":[1,2]"#).await,
        Some(json!([1, 2]))
    );
    assert_eq!(
        decoded::<Vec<i64>>(r#","params":[1,2]"#).await,
        Some(json!([1, 2]))
    );
    assert_eq!(decoded::<Value>(r#","params":[1]"#).await, Some(json!([1])));
}

/// JR-05
#[tokio::test]
async fn wrong_parameters_are_invalid_params() {
    for params in [
        r#","params":[1]"#,
        r#","params":[1,2,3]"#,
        r#","params":["1",2]"#,
        r#","params":{"a":1}"#,
        r#","params":{"a":1,"a":1,"b":2}"#,
        r#","params":[]"#,
        "",
    ] {
        assert_eq!(decoded::<Pair>(params).await, None, "{params}");
    }
}

#[derive(Serialize, Deserialize)]
struct Page {
    #[serde(default)]
    offset: u32,
}

#[tokio::test]
async fn parameters_without_a_value_are_all_the_same() {
    for params in [
        "",
        r#","params":null"#,
        r#","params":[]"#,
        r#","params":[ ]"#,
        r#","params":{}"#,
        ",\"params\":{\n}",
    ] {
        assert_eq!(decoded::<()>(params).await, Some(json!(null)), "{params}");
        assert_eq!(decoded::<Option<Pair>>(params).await, Some(json!(null)));
        assert_eq!(decoded::<Page>(params).await, Some(json!({"offset":0})));
        assert_eq!(decoded::<Vec<u8>>(params).await, Some(json!([])));
    }
    assert_eq!(decoded::<()>(r#","params":[1]"#).await, None);
}
