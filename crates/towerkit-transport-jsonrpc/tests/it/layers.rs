//! Layers around the decoding of parameters.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tower::{Layer, ServiceBuilder, ServiceExt};
use towerkit_core::{
    Call, CallEnd, LayerExt, Observer, OperationSet, Policy, ProtocolKind, observe, stack,
};
use towerkit_endpoint::{RpcError, RpcExt, endpoint_fn};
use towerkit_metrics::{MetricsLayer, Registry};
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_timeout::TimeoutLayer;
use towerkit_transport_jsonrpc::JsonRpc;

use crate::harness::{call, call_json, server};

/// Returns the number of calls of this method with the number of an error, or an empty text, and this outcome.
fn calls(registry: &Registry, method: &str, code: &str, outcome: &str) -> u32 {
    let line = format!(
        r#"rpc_server_call_duration_seconds_count{{rpc_system_name="jsonrpc",rpc_method="{method}",rpc_status_code="{code}",outcome="{outcome}"}} "#
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
    let calls = |method, code, outcome| calls(&registry, method, code, outcome);
    assert_eq!(calls("echo", "", "success"), 1, "{}", registry.render());
    assert_eq!(calls("fail", "-32005", "client_error"), 1);
    assert_eq!(calls("fail", "-32602", "client_error"), 1);
    assert_eq!(calls("fail", "-32603", "failure"), 1);
    // The panic goes through the layer: it has no number yet.
    assert_eq!(calls("panic", "", "failure"), 1);
    assert_eq!(calls("_OTHER", "-32601", "failure"), 2);
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
    assert_eq!(calls(&registry, "echo", "", "success"), 2);
    assert_eq!(calls(&registry, "echo", "-32008", "overloaded"), 1);
}

/// Collects the protocol, the operation and the name of an unknown method.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<SeenCall>>>);

type SeenCall = (ProtocolKind, String, Option<String>);

impl Policy for Seen {
    type CallState = ();

    fn finish(&self, (): (), _end: &CallEnd) {}
}

impl<Req> Observer<Req> for Seen {
    fn start(&self, call: &mut Call<'_, Req>) {
        let unknown = call.path().map(str::to_owned);
        let call = (call.protocol_kind(), call.operation().to_owned(), unknown);
        self.0.lock().unwrap().push(call);
    }
}

#[tokio::test]
async fn layers_see_the_protocol_and_those_of_an_endpoint_a_plain_call() {
    let (outside, inside) = (Seen::default(), Seen::default());
    let double = endpoint_fn(
        (),
        |(), (n,): (u32,)| async move { Ok::<_, RpcError>(2 * n) },
    );
    let server = JsonRpc::new()
        .method("double", observe(inside.clone()).rpc().layer(double))
        .layer(observe(outside.clone()).rpc());
    let calls = json!([
        {"jsonrpc":"2.0","method":"double","params":[1],"id":1},
        {"jsonrpc":"2.0","method":"a name","id":2},
    ]);
    call_json(&server, calls.to_string()).await;
    let seen = |seen: &Seen| seen.0.lock().unwrap().clone();
    let double = "double".to_owned();
    let unknown = ("unmatched".to_owned(), Some("a name".to_owned()));
    assert_eq!(
        seen(&outside),
        [
            (ProtocolKind::JsonRpc, double.clone(), None),
            (ProtocolKind::JsonRpc, unknown.0, unknown.1)
        ]
    );
    assert_eq!(seen(&inside), [(ProtocolKind::Plain, double, None)]);
}

#[cfg(feature = "client")]
#[tokio::test]
async fn layers_of_a_client_see_its_method_and_the_number_of_an_error() {
    use towerkit_endpoint::EndpointExt;
    use towerkit_transport_jsonrpc::{JsonRpcClient, client};

    let registry = Registry::new();
    let metrics = MetricsLayer::new().client().registry(registry.clone());
    let (server, _) = server();
    let uri = http::Uri::from_static("http://fail.example/rpc");
    let fail: JsonRpcClient<_, (u16,), ()> = client(server, uri, "fail");
    let fail = fail.layer(metrics.rpc());
    fail.invoke((5,)).await.unwrap_err();
    let text = registry.render();
    let labels = r#"rpc_client_call_duration_seconds_count{rpc_system_name="jsonrpc",rpc_method="fail",rpc_status_code="-32005",outcome="client_error"} 1"#;
    assert!(text.contains(labels), "{text}");
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
