//! What a call gets, and how it ends.

use std::{convert::Infallible, io};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{Empty, Full};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::sleep,
};
use towerkit_http::PeerAddress;
use towerkit_server::{Drained, Health, RequestBody, Server};

use crate::setup::{
    App, LONGER, Running, SHORT, get, read_to_close, read_until, request, soon, until,
};

#[tokio::test]
async fn requests_have_the_address_of_their_peer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = tower::service_fn(async |request: Request<RequestBody>| {
        let PeerAddress(peer) = request.extensions().get().unwrap();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(peer.to_string())))
    });
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let close = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(close.as_bytes()).await.unwrap();
        let response = read_to_close(&mut stream).await;
        let peer = stream.local_addr().unwrap().to_string();
        assert!(response.ends_with(&peer), "{response}");
    };
    let drained = Server::new().serve(listener, service, client).await;
    assert!(drained.is_complete());
}

#[tokio::test]
async fn a_router_of_axum_is_served() {
    let app = axum::Router::new().route("/", axum::routing::post(async |body: String| body));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
        stream.write_all(post.as_bytes()).await.unwrap();
        read_until(&mut stream, "hello").await;
    };
    Server::new().serve(listener, app, client).await;
}

#[tokio::test]
async fn an_error_of_the_service_is_a_500_without_its_text() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = tower::service_fn(async |_: Request<RequestBody>| {
        Err::<Response<Empty<Bytes>>, _>(io::Error::other("secret"))
    });
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The connection stays usable.
        for _ in 0..2 {
            stream.write_all(request("/").as_bytes()).await.unwrap();
            let response = read_until(&mut stream, "}").await;
            assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
            assert!(!response.contains("secret"), "{response}");
        }
    };
    Server::new().serve(listener, service, client).await;
}

/// HT-07
#[tokio::test]
async fn a_panic_is_a_500_on_a_connection_that_goes_on() {
    let server = Running::start(Server::new()).await;
    let mut stream = server.connect().await;
    for _ in 0..2 {
        stream
            .write_all(request("/panic").as_bytes())
            .await
            .unwrap();
        let response = read_until(&mut stream, "}").await;
        assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
        assert!(!response.contains("on purpose"), "{response}");
        get(&mut stream, "/").await;
    }
    drop(stream);
    assert!(soon(server.stop()).await.unwrap().is_complete());
}

/// HT-08
#[tokio::test]
async fn the_call_of_a_client_that_is_gone_is_dropped() {
    let app = App::default();
    let server = Server::new().half_close_timeout(SHORT);
    let server = Running::start_with(server, app.clone()).await;
    for _ in 0..2 {
        let stream = server.send(request("/wait")).await;
        until(|| app.begun() > app.ended()).await;
        drop(stream);
        until(|| app.begun() == app.ended()).await;
    }
}

/// HT-08
#[tokio::test]
async fn without_time_for_half_closed_clients_the_call_is_dropped_at_once() {
    let app = App::default();
    let server = Server::new().half_close_timeout(std::time::Duration::ZERO);
    let server = Running::start_with(server, app.clone()).await;
    let stream = server.send(request("/wait")).await;
    until(|| app.begun() == 1).await;
    drop(stream);
    until(|| app.ended() == 1).await;
}

#[tokio::test]
async fn a_client_that_has_closed_its_sending_side_is_answered() {
    let server = Running::start(Server::new()).await;
    for path in ["/", "/slow"] {
        let mut stream = server.send(request(path)).await;
        stream.shutdown().await.unwrap();
        let response = read_to_close(&mut stream).await;
        assert!(response.ends_with("hello"), "{response:?}");
    }
    let mut stream = server.send(request("/frames")).await;
    stream.shutdown().await.unwrap();
    let response = read_to_close(&mut stream).await;
    assert!(response.ends_with("0\r\n\r\n"), "{response:?}");
}

#[tokio::test]
async fn a_large_response_to_a_half_closed_client_arrives_whole() {
    let server = Running::start(Server::new()).await;
    let body = "b".repeat(8 << 20);
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = server.send(format!("{head}{body}")).await;
    stream.shutdown().await.unwrap();
    // The buffers of the sockets are full by then.
    sleep(SHORT).await;
    let response = read_to_close(&mut stream).await;
    assert!(response.ends_with(&body), "{} bytes", response.len());
}

#[tokio::test]
async fn the_end_of_an_idle_connection_is_seen_at_once() {
    let server = Running::start(Server::new()).await;
    let mut stream = server.connect().await;
    get(&mut stream, "/").await;
    stream.shutdown().await.unwrap();
    assert_eq!(read_to_close(&mut stream).await, "");
}

/// Echoes the bytes of an upgraded connection.
async fn upgrade(request: Request<RequestBody>) -> Result<Response<Empty<Bytes>>, Infallible> {
    tokio::spawn(async {
        let upgraded = hyper::upgrade::on(request).await.unwrap();
        let (mut reads, mut writes) = tokio::io::split(TokioIo::new(upgraded));
        let _ = tokio::io::copy(&mut reads, &mut writes).await;
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "echo")
        .body(Empty::new());
    Ok(response.unwrap())
}

/// Serves [`upgrade`] until the sender is dropped, and opens an upgraded connection.
async fn upgraded(server: Server) -> (TcpStream, oneshot::Sender<()>, JoinHandle<Drained>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let service = tower::service_fn(upgrade);
    let task = tokio::spawn(server.serve(listener, service, async {
        let _ = stopped.await;
    }));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    (stream, stop, task)
}

#[tokio::test]
async fn an_upgraded_connection_outlives_limits_and_the_begin_of_the_drain() {
    let health = Health::new();
    let server = Server::new().health(health.clone());
    let server = server.idle_timeout(SHORT).unwrap();
    let server = server.head_timeout(SHORT).unwrap();
    let (mut stream, stop, task) = upgraded(server).await;
    sleep(LONGER).await;
    stream.write_all(b"one").await.unwrap();
    read_until(&mut stream, "one").await;
    drop(stop);
    soon(health.stopping()).await;
    sleep(SHORT).await;
    stream.write_all(b"two").await.unwrap();
    read_until(&mut stream, "two").await;
    // The end of an upgraded connection is not held back.
    stream.shutdown().await.unwrap();
    assert_eq!(read_to_close(&mut stream).await, "");
    assert!(soon(task).await.unwrap().is_complete());
}

#[tokio::test]
async fn an_upgraded_connection_is_cut_off_at_the_end_of_the_drain() {
    let (mut stream, stop, task) = upgraded(Server::new().drain_timeout(SHORT).unwrap()).await;
    drop(stop);
    assert_eq!(read_to_close(&mut stream).await, "");
    let expected = Drained::CutOff {
        calls: 0,
        connections: 1,
    };
    assert_eq!(soon(task).await.unwrap(), expected);
}

#[tokio::test]
async fn the_rest_of_an_unread_body_is_read_so_that_the_connection_goes_on() {
    let server = Running::start(Server::new()).await;
    let mut stream = server.connect().await;
    for framing in ["content-length: 13", "transfer-encoding: chunked"] {
        let head = format!("POST /nope HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // The body comes after the service has answered.
        sleep(SHORT / 4).await;
        let body = match framing {
            "content-length: 13" => "13 bytes long",
            _ => "d\r\n13 bytes long\r\n0\r\n\r\n",
        };
        stream.write_all(body.as_bytes()).await.unwrap();
        let response = read_until(&mut stream, "hello").await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        assert!(!response.contains("connection: close"), "{response}");
    }
    get(&mut stream, "/").await;
}

/// HT-14
#[tokio::test]
async fn a_body_that_is_expected_or_too_long_is_not_read_for_an_early_response() {
    let server = Running::start(Server::new()).await;
    for head in [
        "expect: 100-continue\r\ncontent-length: 13",
        "content-length: 262145",
    ] {
        let head = format!("POST /nope HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n");
        let mut stream = server.send(head).await;
        // hyper closes the connection, because the body did not come.
        let response = read_to_close(&mut stream).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        assert!(!response.contains("100 Continue"), "{response}");
    }
}
