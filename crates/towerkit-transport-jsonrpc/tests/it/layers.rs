//! Layers around the decoding of parameters.

use std::time::Duration;

use serde_json::json;
use tower::{ServiceBuilder, ServiceExt};
use towerkit_core::{LayerExt, OperationSet, stack};
use towerkit_endpoint::{RpcError, RpcExt, endpoint_fn};
use towerkit_metrics::{MetricsLayer, Registry};
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_timeout::TimeoutLayer;
use towerkit_transport_jsonrpc::JsonRpc;

use crate::harness::{call, call_json, server};

/// Returns the number of calls with this operation and this outcome.
fn calls(registry: &Registry, operation: &str, outcome: &str) -> u32 {
    let line = format!(
        r#"towerkit_call_duration_seconds_count{{operation="{operation}",outcome="{outcome}"}} "#
    );
    let text = registry.render();
    let mut values = text.lines().filter_map(|each| each.strip_prefix(&line));
    values.next().map_or(0, |value| value.parse().unwrap())
}

/// JR-02, JR-05, GK-JR-7, GK-JR-8: the outcomes that are all success over `.http()`.
#[tokio::test]
async fn an_observer_sees_each_call_of_a_batch_with_its_operation_and_its_outcome() {
    let registry = Registry::new();
    let (server, _) = server();
    let server = server.layer(MetricsLayer::new().registry(registry.clone()).rpc());
    let batch = json!([
        {"jsonrpc":"2.0","method":"echo","params":[1],"id":1},
        {"jsonrpc":"2.0","method":"fail","params":[5],"id":2},
        {"jsonrpc":"2.0","method":"fail","params":["of another type"],"id":3},
        {"jsonrpc":"2.0","method":"fail","params":[13]},
        {"jsonrpc":"2.0","method":"panic","id":4},
        {"jsonrpc":"2.0","method":"made from input 1","id":5},
        {"jsonrpc":"2.0","method":"made from input 2"},
    ]);
    let answers = call_json(&server, batch.to_string()).await;
    assert_eq!(answers.as_array().unwrap().len(), 5);
    assert_eq!(calls(&registry, "echo", "success"), 1);
    assert_eq!(calls(&registry, "fail", "client_error"), 2);
    assert_eq!(calls(&registry, "fail", "failure"), 1);
    assert_eq!(calls(&registry, "panic", "failure"), 1);
    assert_eq!(calls(&registry, "unmatched", "failure"), 2);
    assert!(!registry.render().contains("made from input"));
}

#[tokio::test]
async fn a_guard_rejects_single_calls_of_a_batch() {
    let registry = Registry::new();
    let quota = Quota::new(2, Duration::from_secs(3600)).unwrap();
    let policies = stack((
        MetricsLayer::new().registry(registry.clone()),
        RateLimitLayer::new(quota),
    ));
    let (server, _) = server();
    let server = server.layer(policies.rpc());
    let one = r#"{"jsonrpc":"2.0","method":"echo","params":[],"id":1}"#;
    let answers = call_json(&server, format!("[{one},{one},{one}]")).await;
    let error = &answers[2]["error"];
    assert_eq!(error["code"], -32008);
    assert_eq!(error["data"]["code"], "rate_limited");
    // The bucket gets a token each half of the hour.
    let wait = error["data"]["retry_after_ms"].as_u64().unwrap();
    assert!((1_700_000..=1_800_000).contains(&wait), "{wait}");
    assert_eq!(calls(&registry, "echo", "success"), 2);
    assert_eq!(calls(&registry, "echo", "overloaded"), 1);
}

#[tokio::test]
async fn a_layer_may_be_for_some_methods() {
    let quota = Quota::new(1, Duration::from_secs(3600)).unwrap();
    let (server, _) = server();
    let server = server.layer(
        RateLimitLayer::new(quota)
            .rpc()
            .only(OperationSet::exact("count")),
    );
    let calls = json!([
        {"jsonrpc":"2.0","method":"echo","params":[1],"id":1},
        {"jsonrpc":"2.0","method":"count","id":2},
        {"jsonrpc":"2.0","method":"echo","params":[1],"id":3},
        {"jsonrpc":"2.0","method":"count","id":4},
    ]);
    let answers = call_json(&server, calls.to_string()).await;
    let failed = |index: usize| answers[index].get("error").is_some();
    assert_eq!([0, 1, 2, 3].map(failed), [false, false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_one_call_of_a_batch() {
    let slow = endpoint_fn((), |(), (seconds,): (u64,)| async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok::<_, RpcError>(seconds)
    });
    let timeout = TimeoutLayer::new(Duration::from_secs(2)).unwrap().rpc();
    let server = JsonRpc::new().method("slow", slow).layer(timeout);
    let calls = json!([
        {"jsonrpc":"2.0","method":"slow","params":[9],"id":1},
        {"jsonrpc":"2.0","method":"slow","params":[1],"id":2},
    ]);
    let answers = call_json(&server, calls.to_string()).await;
    assert_eq!(answers[0]["error"]["code"], -32004);
    assert_eq!(answers[0]["error"]["data"]["code"], "deadline_exceeded");
    assert_eq!(answers[1]["result"], 1);
}

/// A layer of tower has another error type.
#[tokio::test]
async fn a_layer_with_boxed_errors_is_a_layer_of_methods() {
    let boxed = ServiceBuilder::new().map_err(towerkit_core::BoxError::from);
    let (server, _) = server();
    let server = server.layer(boxed.into_inner());
    let body = r#"{"jsonrpc":"2.0","method":"fail","params":[5],"id":1}"#;
    let error = call_json(&server, body).await["error"].take();
    assert_eq!(error["data"]["code"], "not_found");
}

#[tokio::test]
async fn a_panic_in_a_layer_is_an_internal_error() {
    let (server, _) = server();
    let layer = tower_layer::layer_fn(|inner: towerkit_transport_jsonrpc::RawEndpoint| {
        inner.map_request(|request: towerkit_endpoint::Request<_>| {
            assert_ne!(request.operation, "echo");
            request
        })
    });
    let server = server.layer(layer);
    let body = r#"{"jsonrpc":"2.0","method":"echo","id":1}"#;
    let answer = call(&server, body).await.unwrap();
    let expected = r#"{"jsonrpc":"2.0","error":{"code":-32603,"message":"internal error","data":{"code":"internal"}},"id":1}"#;
    assert_eq!(answer, expected);
}
