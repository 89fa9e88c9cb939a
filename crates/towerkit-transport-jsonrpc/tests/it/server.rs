//! Single calls, notifications and batches.

use std::sync::atomic::Ordering;

use axum::Router;
use http::{Method, Request};
use http_body_util::Full;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use towerkit_core::ErrorCode;
use towerkit_endpoint::{RpcError, call_fn, endpoint_fn};
use towerkit_transport_jsonrpc::JsonRpc;

use crate::harness::{call, call_json, post, refused, send, server};

/// GK-JR-6
#[tokio::test]
async fn a_call_is_answered_with_its_result() {
    let (server, _) = server();
    let answer = call(
        &server,
        r#"{"jsonrpc":"2.0","method":"echo","params":[3,5],"id":1}"#,
    )
    .await;
    assert_eq!(
        answer.unwrap(),
        r#"{"jsonrpc":"2.0","result":[3,5],"id":1}"#
    );
}

/// GK-JR-3
#[tokio::test]
async fn only_post_is_served() {
    let (server, count) = server();
    for method in [Method::GET, Method::PUT, Method::HEAD, Method::OPTIONS] {
        let body = Full::from(r#"{"jsonrpc":"2.0","method":"count","id":1}"#);
        let request = Request::builder().method(method).body(body).unwrap();
        let (head, body) = send(&server, request).await;
        assert_eq!(head.status(), 405);
        assert_eq!(head.headers()["allow"], "POST");
        assert!(body.is_empty());
    }
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

/// GK-JR-4, GK-JR-14
#[tokio::test]
async fn a_body_that_is_not_json_is_a_parse_error() {
    let (server, _) = server();
    for body in ["clearlynotjson", "", " ", "{", r#"{"jsonrpc":"2.0"}{}"#] {
        assert_eq!(refused(&server, body).await, -32700, "{body}");
    }
}

/// FIX-6
#[tokio::test]
async fn a_call_that_is_not_valid_is_not_made() {
    let (server, count) = server();
    for call in [
        r#"{"method":"count"}"#,
        r#"{"jsonrpc":"1.0","method":"count"}"#,
        r#"{"jsonrpc":2.0,"method":"count"}"#,
        r#"{"jsonrpc":null,"method":"count"}"#,
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","method":null}"#,
        r#"{"jsonrpc":"2.0","method":["count"]}"#,
        r#"{"jsonrpc":"2.0","method":"count","params":"bar"}"#,
        r#"{"jsonrpc":"2.0","method":"count","params":1}"#,
        r#"{"jsonrpc":"2.0","method":"count","params":true}"#,
        r#"{"Jsonrpc":"2.0","method":"count"}"#,
        "{}",
        "null",
        "1",
        r#""count""#,
    ] {
        assert_eq!(refused(&server, call).await, -32600, "{call}");
        // In a batch, the other call is made.
        let before = count.load(Ordering::Relaxed);
        let batch = format!(r#"[{call},{{"jsonrpc":"2.0","method":"count","id":7}}]"#);
        let answers = call_json(&server, batch).await;
        assert_eq!(answers[0]["error"]["code"], -32600, "{call}");
        assert_eq!(
            answers[1],
            json!({"jsonrpc":"2.0","result":before + 1,"id":7})
        );
    }
}

/// JR-03: a struct of serde is read from an array, but a call is not.
#[tokio::test]
async fn a_batch_inside_of_a_batch_is_not_valid() {
    let (server, count) = server();
    for nested in [
        r#"[["2.0","count",null,1]]"#,
        r#"[[{"jsonrpc":"2.0","method":"count","id":1}]]"#,
        "[[]]",
    ] {
        let answers = call_json(&server, nested).await;
        let invalid = json!({"code":-32600,"message":"Invalid Request"});
        assert_eq!(
            answers,
            json!([{"jsonrpc":"2.0","error":invalid,"id":null}])
        );
    }
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

/// JR-02
#[tokio::test]
async fn a_notification_is_never_answered() {
    let (server, count) = server();
    for notification in [
        r#"{"jsonrpc":"2.0","method":"count"}"#,
        r#"{"jsonrpc":"2.0","method":"unknown"}"#,
        r#"{"jsonrpc":"2.0","method":"fail","params":[13]}"#,
        r#"{"jsonrpc":"2.0","method":"fail","params":["of another type"]}"#,
        r#"{"jsonrpc":"2.0","method":"panic"}"#,
        r#"{"jsonrpc":"2.0","method":"unencodable"}"#,
    ] {
        assert_eq!(call(&server, notification).await, None, "{notification}");
        let batch = format!("[{notification},{notification}]");
        assert_eq!(call(&server, batch).await, None, "{notification}");
    }
    assert_eq!(count.load(Ordering::Relaxed), 3);
}

/// GK-JR-1, GK-JR-5, JR-05
#[tokio::test]
async fn a_failed_call_is_answered_with_its_error_and_its_id() {
    let (server, _) = server();
    let internal = json!({"code":-32603,"message":"internal error","data":{"code":"internal"}});
    for (method, params, error) in [
        (
            "unknown",
            "[]",
            json!({"code":-32601,"message":"Method not found"}),
        ),
        (
            "fail",
            "{}",
            json!({"code":-32602,"message":"Invalid params","data":{"code":"invalid_argument"}}),
        ),
        ("panic", "[]", internal.clone()),
        ("unencodable", "[]", internal),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params},"id":"a"}}"#);
        let expected = json!({"jsonrpc":"2.0","error":error,"id":"a"});
        assert_eq!(call_json(&server, body).await, expected, "{method}");
    }
}

/// JR-05
#[tokio::test]
async fn a_panic_in_a_batch_leaves_the_other_calls_alone() {
    let (server, _) = server();
    let batch = r#"[{"jsonrpc":"2.0","method":"echo","params":[1],"id":1},
        {"jsonrpc":"2.0","method":"panic","id":2},
        {"jsonrpc":"2.0","method":"echo","params":[3],"id":3}]"#;
    let answers = call_json(&server, batch).await;
    assert_eq!(answers[0]["result"], json!([1]));
    assert_eq!(answers[1]["error"]["code"], -32603);
    assert_eq!(answers[2]["result"], json!([3]));
}

/// GK-JR-12
#[tokio::test]
async fn every_code_has_its_number_and_its_name() {
    let (server, _) = server();
    for code in ErrorCode::ALL {
        let number = match code {
            ErrorCode::InvalidArgument => -32602,
            ErrorCode::Unimplemented => -32601,
            ErrorCode::Internal => -32603,
            code => -32000 - i64::from(code.number()),
        };
        let params = code.number();
        let body = format!(r#"{{"jsonrpc":"2.0","method":"fail","params":[{params}],"id":1}}"#);
        let error = call_json(&server, body).await["error"].take();
        assert_eq!(error["code"], number, "{code}");
        assert_eq!(error["message"], "sorry");
        let name = error["data"]["code"].as_str();
        let expected = (code != ErrorCode::Unimplemented).then_some(code.as_str());
        assert_eq!(name, expected);
    }
}

#[tokio::test]
async fn an_error_without_a_code_does_not_say_its_text() {
    let secret = endpoint_fn((), |(), ()| async {
        Err::<(), _>(towerkit_core::BoxError::from("password=hunter2"))
    });
    let server = JsonRpc::new().method("secret", secret);
    let body = r#"{"jsonrpc":"2.0","method":"secret","id":1}"#;
    let error = call_json(&server, body).await["error"].take();
    assert_eq!(error["code"], -32603);
    assert_eq!(error["message"], "internal error");
}

#[tokio::test]
async fn a_result_of_null_is_a_result() {
    let server = JsonRpc::new().method(
        "unit",
        endpoint_fn((), |(), ()| async { Ok::<_, RpcError>(()) }),
    );
    let answer = call(&server, r#"{"jsonrpc":"2.0","method":"unit","id":1}"#).await;
    assert_eq!(answer.unwrap(), r#"{"jsonrpc":"2.0","result":null,"id":1}"#);
}

/// GK-JR-7: what the before functions of go-kit put into the context, each call gets.
#[tokio::test]
async fn every_call_has_the_headers_and_the_extensions_of_the_request() {
    #[derive(Clone)]
    struct Tenant(&'static str);

    let tenant = call_fn(
        (),
        |(), request: towerkit_endpoint::Request<()>| async move {
            let tenant: &Tenant = request.extensions.get().unwrap();
            let header = request.headers["x-request"].to_str().unwrap().to_owned();
            Ok::<_, RpcError>((request.operation, tenant.0, header))
        },
    );
    let server = JsonRpc::new().method("tenant", tenant);
    let one = r#"{"jsonrpc":"2.0","method":"tenant","id":1}"#;
    for (body, calls) in [(one.to_owned(), 1), (format!("[{one},{one},{one}]"), 3)] {
        let mut request = post(body);
        request
            .headers_mut()
            .insert("x-request", "r1".parse().unwrap());
        request.extensions_mut().insert(Tenant("blue"));
        let (_, body) = send(&server, request).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        let answers = if calls == 1 { json!([body]) } else { body };
        let results: Vec<_> = answers.as_array().unwrap().iter().collect();
        assert_eq!(results.len(), calls);
        for answer in results {
            assert_eq!(answer["result"], json!(["tenant", "blue", "r1"]));
        }
    }
}

/// JR-05
#[tokio::test]
async fn a_panic_leaves_the_connection_open() {
    let (server, _) = server();
    let app: Router = Router::new().route_service("/rpc", server);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async { axum::serve(listener, app).await });

    let mut connection = TcpStream::connect(address).await.unwrap();
    for (method, close) in [("panic", ""), ("count", "connection: close\r\n")] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","id":1}}"#);
        let length = body.len();
        let head =
            format!("POST /rpc HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n{close}\r\n");
        let request = head + &body;
        connection.write_all(request.as_bytes()).await.unwrap();
    }
    let mut responses = String::new();
    connection.read_to_string(&mut responses).await.unwrap();
    let panicked = responses.find(r#""code":-32603"#).expect(&responses);
    let counted = responses.find(r#""result":1"#).expect(&responses);
    assert!(panicked < counted);
    serving.abort();
}

#[tokio::test]
async fn the_server_is_a_route_of_axum() {
    let (server, _) = server();
    let app: Router = Router::new().route_service("/rpc", server);
    let body = axum::body::Body::from(r#"{"jsonrpc":"2.0","method":"echo","params":[1],"id":1}"#);
    let request = Request::post("/rpc").body(body).unwrap();
    let response = tower::ServiceExt::oneshot(app, request).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[derive(Debug, Clone)]
enum Item {
    Call(u32),
    Notification,
    Failing(u32),
    UnknownMethod(u32),
    Invalid,
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        any::<u32>().prop_map(Item::Call),
        Just(Item::Notification),
        any::<u32>().prop_map(Item::Failing),
        any::<u32>().prop_map(Item::UnknownMethod),
        Just(Item::Invalid),
    ]
}

impl Item {
    fn json(&self) -> Value {
        match self {
            Self::Call(id) => json!({"jsonrpc":"2.0","method":"echo","params":[id],"id":id}),
            Self::Notification => json!({"jsonrpc":"2.0","method":"count"}),
            Self::Failing(id) => json!({"jsonrpc":"2.0","method":"fail","params":[5],"id":id}),
            Self::UnknownMethod(id) => json!({"jsonrpc":"2.0","method":"unknown","id":id}),
            Self::Invalid => json!({"jsonrpc":"2.0","method":1}),
        }
    }

    /// Returns the id, the result and the number of the error of the response.
    fn answer(&self) -> Option<(Value, Value, Value)> {
        match self {
            Self::Call(id) => Some((json!(id), json!([id]), Value::Null)),
            Self::Notification => None,
            Self::Failing(id) => Some((json!(id), Value::Null, json!(-32005))),
            Self::UnknownMethod(id) => Some((json!(id), Value::Null, json!(-32601))),
            Self::Invalid => Some((Value::Null, Value::Null, json!(-32600))),
        }
    }
}

proptest! {
    /// JR-03
    #[test]
    fn each_call_of_a_batch_has_its_answer_in_order(items in vec(item(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (server, count) = server();
        let batch = Value::from_iter(items.iter().map(Item::json));
        let answered = runtime.block_on(call(&server, batch.to_string()));
        let expected: Vec<_> = items.iter().filter_map(Item::answer).collect();
        let notifications = items.len() - expected.len();
        prop_assert_eq!(count.load(Ordering::Relaxed), notifications);
        let answered = answered.map(|json| serde_json::from_str::<Vec<Value>>(&json).unwrap());
        let answered = answered.unwrap_or_default().into_iter().map(|mut answer| {
            (answer["id"].take(), answer["result"].take(), answer["error"]["code"].take())
        });
        prop_assert_eq!(answered.collect::<Vec<_>>(), expected);
    }
}
