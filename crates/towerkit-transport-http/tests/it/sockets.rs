//! Handlers behind hyper, on a real socket.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::{net::TcpStream, sync::Notify};
use towerkit_core::BoxError;
use towerkit_endpoint::{RpcError, endpoint_fn};
use towerkit_transport_http::{Json, ResponseBody, serve};

use crate::wire::{Dropped, Wire, listen, until};

fn request(body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// HT-07, GK-HS-16, FIX-1
#[tokio::test]
async fn a_panic_is_500_and_the_connection_goes_on() {
    let endpoint = endpoint_fn((), |(), fail: bool| async move {
        assert!(!fail, "secret");
        Ok::<_, RpcError>("fine")
    });
    let mut wire = Wire::connect(listen(serve("fail", Json, endpoint)).await).await;
    for (fail, status, body) in [("true", "500", "}"), ("false", "200", "\"fine\"")].repeat(2) {
        wire.send(request(fail)).await;
        let head = wire.head().await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
        assert!(!wire.read_to(body).await.contains("secret"));
    }
}

/// HT-07, over HTTP/2: the other calls on the connection go on.
#[tokio::test]
async fn a_panic_does_not_disturb_another_call_on_the_same_connection() {
    let gate = Arc::new(Notify::new());
    let endpoint = endpoint_fn(gate.clone(), |gate, fail: bool| async move {
        assert!(!fail, "secret");
        gate.notified().await;
        Ok::<_, RpcError>("fine")
    });
    let address = listen(serve("fail", Json, endpoint)).await;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut send = |body: &'static str| {
        client.send_request(
            Request::post("http://test/")
                .body(Full::<Bytes>::from(body))
                .unwrap(),
        )
    };
    let waiting = send("false");
    assert_eq!(send("true").await.unwrap().status(), 500);
    gate.notify_one();
    let answered = waiting.await.unwrap();
    assert_eq!(answered.status(), 200);
    assert_eq!(
        answered.into_body().collect().await.unwrap().to_bytes(),
        "\"fine\""
    );
}

/// HT-08, GK-HC-7
#[tokio::test]
async fn when_the_caller_goes_away_the_future_of_the_endpoint_is_dropped_once() {
    let (started, futures) = (Arc::new(Notify::new()), Dropped::default());
    let endpoint = endpoint_fn(
        (started.clone(), futures.clone()),
        |(started, futures), ()| async move {
            let _guard = futures.guard();
            started.notify_one();
            std::future::pending::<Result<(), RpcError>>().await
        },
    );
    let address = listen(serve("wait", Json, endpoint)).await;
    for count in 1..=3 {
        let mut wire = Wire::connect(address).await;
        wire.send(request("null")).await;
        started.notified().await;
        assert_eq!(futures.count(), count - 1);
        drop(wire);
        until(|| futures.count() == count).await;
    }
}

/// HT-14
#[tokio::test]
async fn a_body_is_refused_before_the_caller_sends_it() {
    let echo = endpoint_fn(
        (),
        |(), text: String| async move { Ok::<_, RpcError>(text) },
    );
    let handler = serve("echo", Json, echo)
        .method(http::Method::POST)
        .body_limit(5);
    let address = listen(handler).await;
    let head = |method: &str, length: u32| {
        format!(
            "{method} / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut wire = Wire::connect(address).await;
    wire.send(head("POST", 6)).await;
    assert!(wire.head().await.starts_with("http/1.1 413"));
    let mut wire = Wire::connect(address).await;
    wire.send(head("PUT", 5)).await;
    assert!(wire.head().await.starts_with("http/1.1 405"));
    let mut wire = Wire::connect(address).await;
    wire.send(head("POST", 5)).await;
    assert!(wire.head().await.starts_with("http/1.1 100"));
    wire.send("\"abc\"").await;
    assert!(wire.head().await.starts_with("http/1.1 200"));
    wire.read_to("\"abc\"").await;
}

/// HT-03
#[tokio::test]
async fn a_chunked_body_over_the_limit_is_413() {
    let echo = endpoint_fn(
        (),
        |(), text: String| async move { Ok::<_, RpcError>(text) },
    );
    let address = listen(serve("echo", Json, echo).body_limit(5)).await;
    for (last, status) in [
        ("1\r\n\"\r\n0\r\n\r\n", "200"),
        ("2\r\nd\"\r\n0\r\n\r\n", "413"),
    ] {
        let mut wire = Wire::connect(address).await;
        wire.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        wire.send("2\r\n\"a\r\n2\r\nbc\r\n").await;
        wire.send(last).await;
        let head = wire.head().await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    }
}

/// HT-14: trailers of a request over the wire do not disturb its decoding.
#[tokio::test]
async fn the_trailers_of_a_request_are_ignored() {
    let echo = endpoint_fn(
        (),
        |(), text: String| async move { Ok::<_, RpcError>(text) },
    );
    let mut wire = Wire::connect(listen(serve("echo", Json, echo)).await).await;
    for _ in 0..2 {
        wire.send(
            "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n",
        )
        .await;
        wire.send("4\r\n\"ab\"\r\n0\r\nx-sum: 7\r\n\r\n").await;
        assert!(wire.head().await.starts_with("http/1.1 200"));
        wire.read_to("\"ab\"").await;
    }
}

/// HT-09: a stream that fails after its head is cut off, and never ends as if it were complete.
#[tokio::test]
async fn a_stream_that_fails_ends_the_connection() {
    let encode = |fails: bool| -> Result<Response<ResponseBody>, RpcError> {
        let mut frames = vec![Ok::<_, BoxError>(Frame::data(Bytes::from("one")))];
        if fails {
            frames.push(Err("secret".into()));
        }
        let stream = StreamBody::new(futures_util::stream::iter(frames));
        Ok(Response::new(ResponseBody::new(stream)))
    };
    let endpoint = endpoint_fn(
        (),
        |(), fails: bool| async move { Ok::<_, RpcError>(fails) },
    );
    let address = listen(serve("stream", (Json, encode), endpoint)).await;
    for (fails, is_complete) in [("true", false), ("false", true)] {
        let mut wire = Wire::connect(address).await;
        wire.send(request(fails).replace("host", "connection: close\r\nhost"))
            .await;
        let answer = String::from_utf8(wire.rest().await).unwrap();
        assert_eq!(answer.ends_with("0\r\n\r\n"), is_complete, "{answer}");
        assert!(!answer.contains("secret"), "{answer}");
    }
}

/// A body that ends early: the endpoint is not called.
#[tokio::test]
async fn a_body_that_ends_early_calls_no_endpoint() {
    let calls = Dropped::default();
    let endpoint = endpoint_fn(calls.clone(), |calls, _: serde_json::Value| async move {
        drop(calls.guard());
        Ok::<_, RpcError>(())
    });
    let address = listen(serve("count", Json, endpoint)).await;
    let mut wire = Wire::connect(address).await;
    wire.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n1")
        .await;
    drop(wire);
    let mut wire = Wire::connect(address).await;
    wire.send("POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 1\r\n\r\n1")
        .await;
    let rest = String::from_utf8(wire.rest().await).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
    assert_eq!(calls.count(), 1);
}

/// HT-14: the next response on the connection begins where it should.
#[tokio::test]
async fn responses_without_a_body_leave_the_connection_in_step() {
    let encode = |status: u16| -> Result<Response<ResponseBody>, RpcError> {
        let mut response = Response::new(ResponseBody::from(Bytes::from("content")));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        Ok(response)
    };
    let endpoint = endpoint_fn(
        (),
        |(), status: u16| async move { Ok::<_, RpcError>(status) },
    );
    let mut wire = Wire::connect(listen(serve("status", (Json, encode), endpoint)).await).await;
    let methods = [
        ("POST", "204"),
        ("POST", "304"),
        ("POST", "205"),
        ("HEAD", "200"),
    ];
    for (method, status) in methods.repeat(2) {
        wire.send(request(status).replace("POST", method)).await;
        let head = wire.head().await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        let length = head.contains("content-length: 7");
        assert_eq!(length, method == "HEAD", "{head}");
    }
    wire.send(request("200")).await;
    assert!(wire.head().await.contains("content-length: 7"));
    assert_eq!(wire.read_to("content").await, "content");
}

#[tokio::test]
async fn a_handler_is_served_over_http_2() {
    let double = endpoint_fn((), |(), n: u32| async move {
        Ok::<_, RpcError>(json!({ "v": 2 * n }))
    });
    let address = listen(serve("double", Json, double)).await;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://test/")
        .body(Full::<Bytes>::from("4").map_err(|e| match e {}).boxed());
    let response = client.send_request(request.unwrap()).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        r#"{"v":8}"#
    );
    let empty = Empty::<Bytes>::new()
        .map_err(|e: std::convert::Infallible| match e {})
        .boxed();
    let head = Request::head("http://test/").body(empty).unwrap();
    let response = client.send_request(head).await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(response.headers().contains_key("content-length"));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "");
}
