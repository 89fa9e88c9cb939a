//! Clients.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::{BoxError, Service, service_fn};
use towerkit_core::{CarriesRejection, ErrorCode};
use towerkit_endpoint::{EndpointExt, IntoRpcError, RpcError};
use towerkit_transport_jsonrpc::{ErrorObject, JsonRpcClient, client};

use crate::harness::server;

const URI: &str = "http://upstream.example/rpc";

/// An upstream that answers each request by a function of its JSON.
fn upstream<F>(
    answer: F,
) -> impl Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError, Future: Send>
+ Clone
where
    F: Fn(Value) -> Response<String> + Clone + Send + 'static,
{
    service_fn(move |request: Request<Full<Bytes>>| {
        let answer = answer.clone();
        async move {
            assert_eq!(request.method(), "POST");
            assert_eq!(request.uri(), URI);
            assert_eq!(request.headers()["content-type"], "application/json");
            let body = request.into_body().collect().await?.to_bytes();
            Ok(answer(serde_json::from_slice(&body)?).map(Full::from))
        }
    })
}

/// Calls an upstream that answers with this body.
async fn answered(status: u16, body: &str) -> Result<Value, RpcError> {
    let body = body.to_owned();
    let respond = move |_| {
        let response = Response::builder()
            .status(status)
            .header("retry-after", "7");
        response.body(body.clone()).unwrap()
    };
    let method: JsonRpcClient<_, [i64; 1], Value> =
        client(upstream(respond), Uri::from_static(URI), "add");
    method.invoke([1]).await
}

/// GK-JR-10
#[tokio::test]
async fn a_request_has_the_version_the_method_the_parameters_and_an_id_of_its_own() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let answer = {
        let seen = seen.clone();
        move |call: Value| {
            let result = json!({"jsonrpc":"2.0","result":call["params"],"id":call["id"]});
            seen.lock().unwrap().push(call);
            Response::new(result.to_string())
        }
    };
    let add: JsonRpcClient<_, (i64, i64), Vec<i64>> =
        client(upstream(answer), Uri::from_static(URI), "add");
    for call in 1..=100 {
        assert_eq!(add.clone().invoke((call, 2)).await.unwrap(), [call, 2]);
    }
    let seen = seen.lock().unwrap();
    for (id, call) in (1..).zip(&*seen) {
        let expected = json!({"jsonrpc":"2.0","method":"add","params":[id,2],"id":id});
        assert_eq!(*call, expected);
    }
    assert_eq!(seen.len(), 100);
}

/// GK-JR-10
#[tokio::test]
async fn the_headers_and_the_extensions_of_a_call_are_sent() {
    #[derive(Clone, PartialEq, Debug)]
    struct Tenant(&'static str);

    let http = service_fn(|request: Request<Full<Bytes>>| async move {
        assert_eq!(request.headers()["x-tenant"], "blue");
        assert_eq!(request.extensions().get(), Some(&Tenant("blue")));
        assert!(!request.headers().contains_key("host"));
        let body = r#"{"jsonrpc":"2.0","result":null,"id":1}"#;
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(body)))
    });
    let method: JsonRpcClient<_, (), ()> = client(http, Uri::from_static(URI), "add");
    let mut request = towerkit_endpoint::Request::new("add", ());
    request.headers.insert("x-tenant", "blue".parse().unwrap());
    request.headers.insert("host", "front".parse().unwrap());
    request.extensions.insert(Tenant("blue"));
    method.invoke(request).await.unwrap();
}

#[tokio::test]
async fn parameters_without_a_value_are_left_out_and_single_values_are_errors() {
    let answer = |call: Value| {
        let has_params = call.get("params").is_some();
        let response = json!({"jsonrpc":"2.0","result":has_params,"id":call["id"]});
        Response::new(response.to_string())
    };
    let http = upstream(answer);
    let unit: JsonRpcClient<_, (), bool> = client(http.clone(), Uri::from_static(URI), "a");
    assert!(!unit.invoke(()).await.unwrap());
    let list: JsonRpcClient<_, Vec<u8>, bool> = client(http.clone(), Uri::from_static(URI), "a");
    assert!(list.invoke(Vec::new()).await.unwrap());
    let number: JsonRpcClient<_, u8, bool> = client(http, Uri::from_static(URI), "a");
    let error = number.invoke(1).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
}

/// JR-07
#[tokio::test]
async fn only_a_response_to_the_call_itself_has_its_result() {
    let ok = r#"{"jsonrpc":"2.0","result":5,"id":1}"#;
    assert_eq!(answered(200, ok).await.unwrap(), 5);
    for body in [
        r#"{"jsonrpc":"2.0","result":5,"id":2}"#,
        r#"{"jsonrpc":"2.0","result":5,"id":"1"}"#,
        r#"{"jsonrpc":"2.0","result":5,"id":1.0}"#,
        r#"{"jsonrpc":"2.0","result":5,"id":01}"#,
        r#"{"jsonrpc":"2.0","result":5,"id":[1]}"#,
        r#"{"jsonrpc":"2.0","result":5,"id":null}"#,
        r#"{"jsonrpc":"2.0","result":5}"#,
        r#"{"jsonrpc":"2.0","result":5,"error":{"code":1,"message":"m"},"id":1}"#,
        r#"{"jsonrpc":"2.0","result":5,"error":{},"id":1}"#,
        r#"{"jsonrpc":"2.0","result":5,"result":6,"id":1}"#,
        r#"{"jsonrpc":"2.0","result":5,"id":1,"id":2}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"1.0","result":5,"id":1}"#,
        r#"{"result":5,"id":1}"#,
        r#"[{"jsonrpc":"2.0","result":5,"id":1}]"#,
        r#"["2.0",5,null,1]"#,
        r#"{"jsonrpc":"2.0","result":5,"id":1}{}"#,
        "{}",
        "",
        "null",
        "\u{feff}{}",
    ] {
        let error = answered(200, body).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Internal, "{body}");
        assert!(error.message().contains("of the upstream"), "{body}");
    }
}

/// JR-07
#[tokio::test]
async fn an_error_of_another_call_is_not_that_of_the_call() {
    let other = r#"{"jsonrpc":"2.0","error":{"code":-32601,"message":"m"},"id":2}"#;
    let error = answered(200, other).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
}

#[tokio::test]
async fn a_null_member_counts_as_left_out() {
    let ok = r#"{"jsonrpc":"2.0","result":5,"error":null,"id":1}"#;
    assert_eq!(answered(200, ok).await.unwrap(), 5);
    let failed = r#"{"jsonrpc":"2.0","result":null,"error":{"code":-32601,"message":"m"},"id":1}"#;
    let error = answered(200, failed).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unimplemented);
}

/// GK-JR-9, GK-JR-11
#[tokio::test]
async fn an_error_object_is_the_error_of_the_call() {
    let body = r#"{"jsonrpc":"2.0","error":{"code":-32603,"message":"Bad thing happened."}}"#;
    let error = answered(200, body).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
    assert_eq!(error.message(), "Bad thing happened.");
    let object: &ErrorObject = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(object.code(), -32603);
    assert_eq!(object.message(), "Bad thing happened.");
    assert!(object.data().is_none());
}

#[tokio::test]
async fn the_code_of_an_error_is_that_of_its_data_its_number_or_its_status() {
    let cases = [
        (
            200,
            r#"{"code":-32700,"message":"m"}"#,
            ErrorCode::InvalidArgument,
        ),
        (
            200,
            r#"{"code":-32600,"message":"m"}"#,
            ErrorCode::InvalidArgument,
        ),
        (
            200,
            r#"{"code":-32601,"message":"m"}"#,
            ErrorCode::Unimplemented,
        ),
        (
            200,
            r#"{"code":-32602,"message":"m"}"#,
            ErrorCode::InvalidArgument,
        ),
        (200, r#"{"code":-32005,"message":"m"}"#, ErrorCode::Unknown),
        (
            429,
            r#"{"code":-32005,"message":"m"}"#,
            ErrorCode::ResourceExhausted,
        ),
        (
            400,
            r#"{"code":-32601,"message":"m"}"#,
            ErrorCode::Unimplemented,
        ),
        (
            200,
            r#"{"code":1,"message":"m","data":{"code":"not_found"}}"#,
            ErrorCode::NotFound,
        ),
        (
            200,
            r#"{"code":1,"message":"m","data":{"code":"circuit_open"}}"#,
            ErrorCode::Unavailable,
        ),
        (
            200,
            r#"{"code":1,"message":"m","data":{"code":"?"}}"#,
            ErrorCode::Unknown,
        ),
        (
            200,
            r#"{"code":1,"message":"m","data":[{"code":5}]}"#,
            ErrorCode::Unknown,
        ),
    ];
    for (status, object, code) in cases {
        let body = format!(r#"{{"jsonrpc":"2.0","error":{object},"id":1}}"#);
        let error = answered(status, &body).await.unwrap_err();
        assert_eq!((error.code(), &*error.message()), (code, "m"), "{object}");
        let wait = (status != 200).then_some(Duration::from_secs(7));
        assert_eq!(error.retry_after(), wait);
    }
    let object = r#"{"code":1,"message":"m","data":{"code":"unavailable","retry_after_ms":1500}}"#;
    let body = format!(r#"{{"jsonrpc":"2.0","error":{object},"id":null}}"#);
    let error = answered(503, &body).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_millis(1500)));
}

/// GK-JR-2, GK-JR-9
#[tokio::test]
async fn a_status_without_json_rpc_is_the_error_of_the_status() {
    for (status, body, code) in [
        (500, "", ErrorCode::Internal),
        (500, "{}", ErrorCode::Internal),
        (503, "<html>", ErrorCode::Unavailable),
        (418, "teapot", ErrorCode::InvalidArgument),
        (
            429,
            r#"{"jsonrpc":"2.0","result":5,"id":1}"#,
            ErrorCode::ResourceExhausted,
        ),
    ] {
        let error = answered(status, body).await.unwrap_err();
        assert_eq!(error.code(), code, "{status}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }
}

#[tokio::test]
async fn a_failed_connection_is_unavailable_without_its_text() {
    let http = service_fn(|_: Request<Full<Bytes>>| async {
        Err::<Response<Full<Bytes>>, _>(BoxError::from("10.0.0.1 refused"))
    });
    let method: JsonRpcClient<_, (), ()> = client(http, Uri::from_static(URI), "add");
    let error = method.invoke(()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(error.message(), "the upstream is unavailable");
}

#[tokio::test]
async fn a_response_over_the_limit_is_an_error() {
    let (server, _) = server();
    let echo: JsonRpcClient<_, [String; 1], Vec<String>> =
        client(server, Uri::from_static(URI), "echo");
    let echo = echo.response_limit(100);
    assert!(echo.invoke(["a".repeat(10)]).await.is_ok());
    let error = echo.invoke(["a".repeat(100)]).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
}

#[tokio::test]
async fn an_error_crosses_the_wire_with_its_code_and_its_message() {
    let (server, _) = server();
    let fail: JsonRpcClient<_, (u16,), ()> = client(server, Uri::from_static(URI), "fail");
    for code in ErrorCode::ALL {
        let error = fail.invoke((code.number(),)).await.unwrap_err();
        assert_eq!((error.code(), &*error.message()), (code, "sorry"));
        assert!(error.rejection().is_none());
    }
}

#[tokio::test]
async fn the_results_of_a_batch_are_in_the_order_of_its_messages() {
    let (server, _) = server();
    let fail: JsonRpcClient<_, (u16,), ()> = client(server.clone(), Uri::from_static(URI), "fail");
    let errors = fail.batch().invoke(vec![(5,), (8,), (13,)]).await.unwrap();
    let codes: Vec<_> = errors
        .iter()
        .map(|error| error.as_ref().unwrap_err().code())
        .collect();
    let expected = [
        ErrorCode::NotFound,
        ErrorCode::ResourceExhausted,
        ErrorCode::Internal,
    ];
    assert_eq!(codes, expected);

    let echo: JsonRpcClient<_, [u32; 1], Value> = client(server, Uri::from_static(URI), "echo");
    // The ids of a second batch are others.
    let echo = echo.batch();
    for _ in 0..2 {
        let results = echo.invoke(vec![[1], [2], [3]]).await.unwrap();
        let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        assert_eq!(results, [json!([1]), json!([2]), json!([3])]);
    }
    // The server rejects the batch with one error.
    let error = echo.invoke(vec![[0]; 101]).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert_eq!(error.message(), "the batch has more than 100 calls");
}

#[tokio::test]
async fn an_empty_batch_is_not_sent() {
    let http = upstream(|_| unreachable!("no request is expected"));
    let echo: JsonRpcClient<_, [u32; 1], Value> = client(http, Uri::from_static(URI), "echo");
    assert!(echo.batch().invoke(Vec::new()).await.unwrap().is_empty());
}

/// The responses of an upstream that mixes calls up.
#[derive(Debug, Clone)]
enum Mixed {
    /// The response to the call with this index.
    To(u64),
    WithoutId,
    NullId,
    /// Both a result and an error.
    Both(u64),
    Junk,
}

proptest! {
    /// JR-07
    #[test]
    fn no_call_of_a_batch_has_the_result_of_another(
        replies in proptest::collection::vec(
            prop_oneof![
                6 => (0_u64..8).prop_map(Mixed::To),
                1 => Just(Mixed::WithoutId),
                1 => Just(Mixed::NullId),
                1 => (0_u64..5).prop_map(Mixed::Both),
                1 => Just(Mixed::Junk),
            ],
            0..8,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sent = replies.clone();
        let http = upstream(move |calls| {
            let first = calls[0]["id"].as_u64().unwrap();
            let replies = sent.iter().map(|reply| match reply {
                Mixed::To(index) => json!({"jsonrpc":"2.0","result":index,"id":first + index}),
                Mixed::WithoutId => json!({"jsonrpc":"2.0","result":1}),
                Mixed::NullId => json!({"jsonrpc":"2.0","result":1,"id":null}),
                Mixed::Both(index) => json!({
                    "jsonrpc":"2.0","result":index,"error":{"code":1,"message":""},"id":first + index
                }),
                Mixed::Junk => json!(["2.0", 1, null, first]),
            });
            Response::new(Value::from_iter(replies).to_string())
        });
        let echo: JsonRpcClient<_, [u64; 1], u64> = client(http, Uri::from_static(URI), "echo");
        let messages: Vec<_> = (0..5).map(|index| [index]).collect();
        let results = runtime.block_on(echo.batch().invoke(messages)).unwrap();
        prop_assert_eq!(results.len(), 5);
        for (index, result) in (0..).zip(results) {
            let answers = replies.iter();
            let answers = answers.filter(|reply| matches!(reply, Mixed::To(to) if *to == index));
            match result {
                Ok(result) => {
                    prop_assert_eq!(result, index);
                    prop_assert_eq!(answers.count(), 1);
                }
                Err(_) => prop_assert_ne!(answers.count(), 1),
            }
        }
    }
}
