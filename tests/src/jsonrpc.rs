//! JR-06, JR-09: a body is answered by the rules of the specification, and no call is made twice.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json, value::RawValue};
use tower::ServiceExt;
use towerkit_endpoint::{RpcError, endpoint_fn};
use towerkit_transport_jsonrpc::JsonRpc;

use crate::read_json;

const LONGEST_BATCH: usize = 100;

/// Sends the bytes to a server of JSON-RPC, which has the method `count`.
///
/// # Panics
///
/// If they are not answered by the rules, or if another number of calls is made.
pub fn jsonrpc(data: &[u8]) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = endpoint_fn(
        calls.clone(),
        |calls: Arc<AtomicUsize>, _: Value| async move {
            calls.fetch_add(1, Ordering::Relaxed);
            Ok::<_, RpcError>(true)
        },
    );
    let server = JsonRpc::new().method("count", count);
    let request = Request::post("/rpc").body(Full::new(Bytes::copy_from_slice(data)));
    let request = request.expect("a request");
    let response = server.oneshot(request).now_or_never().expect("no wait");
    let Ok(response) = response;
    let status = response.status();
    let body = response.into_body().collect().now_or_never();
    let body = body.expect("no wait").expect("a body").to_bytes();

    let calls = calls.load(Ordering::Relaxed);
    let text = data.escape_ascii();
    if body.is_empty() {
        assert_eq!(status, 204, "{text}");
    } else {
        assert_eq!(status, 200, "{text}");
    }
    let Some((expected, expected_calls)) = exchange(data) else {
        return;
    };
    assert_eq!(calls, expected_calls, "{text}");
    let answer = (!body.is_empty()).then(|| serde_json::from_slice(&body).expect("JSON"));
    assert_eq!(answer.map(without_texts), expected, "{text}");
}

/// Returns the response to a body, without the messages of errors, and the number of calls; `None` if the model cannot read the body.
fn exchange(data: &[u8]) -> Option<(Option<Value>, usize)> {
    let refused = |number| Some((Some(error(number, &Value::Null)), 0));
    let Ok(text) = std::str::from_utf8(data) else {
        return refused(-32700);
    };
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(calls)) if calls.is_empty() || calls.len() > LONGEST_BATCH => {
            refused(-32600)
        }
        Ok(Value::Array(_)) => {
            let calls: Vec<&RawValue> = serde_json::from_str(text).expect("an array");
            let answers = calls.into_iter().map(|call| answer(call.get()));
            let (answers, made): (Vec<_>, Vec<_>) =
                answers.collect::<Option<Vec<_>>>()?.into_iter().unzip();
            let answers: Vec<_> = answers.into_iter().flatten().collect();
            let answers = (!answers.is_empty()).then_some(Value::Array(answers));
            Some((answers, made.into_iter().sum()))
        }
        Ok(_) => answer(text),
        // The model has numbers as floats, and a recursive parser.
        Err(error) if is_limit(&error.to_string()) => None,
        Err(_) => refused(-32700),
    }
}

fn is_limit(error: &str) -> bool {
    error.contains("number out of range") || error.contains("recursion limit")
}

/// Returns the response to one call, and the number of calls that are made for it.
fn answer(call: &str) -> Option<(Option<Value>, usize)> {
    let invalid = |id: &Value| Some((Some(error(-32600, id)), 0));
    let members = match read_json(call) {
        Ok(members) => members,
        Err(why) => {
            let twice = why.strip_suffix(" is there twice");
            let is_known = |name| ["jsonrpc", "method", "params", "id"].contains(&name);
            // Members that the specification does not know are ignored.
            return if twice.is_none_or(is_known) {
                invalid(&Value::Null)
            } else {
                None
            };
        }
    };
    let member = |name| {
        let mut named = members.iter().filter(|(found, _)| found == name);
        named.next().map(|(_, value)| value)
    };
    let id = member("id");
    if id.is_some_and(|id| id.is_boolean() || id.is_array() || id.is_object()) {
        return invalid(&Value::Null);
    }
    let params = member("params").unwrap_or(&Value::Null);
    let has_params = params.is_null() || params.is_array() || params.is_object();
    let is_version_2 = member("jsonrpc").is_some_and(|version| version == "2.0");
    let Some(method) = member("method").and_then(Value::as_str) else {
        return invalid(id.unwrap_or(&Value::Null));
    };
    if !has_params || !is_version_2 {
        return invalid(id.unwrap_or(&Value::Null));
    }
    Some(if method == "count" {
        let result = id.map(|id| json!({"jsonrpc": "2.0", "result": true, "id": id}));
        (result, 1)
    } else {
        (id.map(|id| error(-32601, id)), 0)
    })
}

fn error(number: i64, id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "error": {"code": number}, "id": id})
}

/// Removes the messages of errors.
fn without_texts(mut answer: Value) -> Value {
    let answers = match &mut answer {
        Value::Array(answers) => answers.as_mut_slice(),
        answer => std::slice::from_mut(answer),
    };
    for answer in answers {
        if let Some(error) = answer.get_mut("error") {
            assert!(error["message"].is_string());
            *error = json!({"code": error["code"]});
        }
    }
    answer
}
