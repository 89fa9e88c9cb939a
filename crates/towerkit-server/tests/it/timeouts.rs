//! The limits of time of a connection.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};
use towerkit_server::Server;

use crate::setup::{
    App, LONGER, Running, SHORT, get, read_to_close, read_until, request, soon, until,
};

/// A server with this limit for heads, and the defaults besides.
async fn with_short_heads() -> Running {
    Running::start(Server::new().head_timeout(SHORT).unwrap()).await
}

/// HT-01
#[tokio::test]
async fn a_connection_that_sends_no_whole_head_is_closed() {
    let server = with_short_heads().await;
    let starts: [&[u8]; 5] = [
        b"",
        b"G",
        b"GET / HTTP/1.1\r\nhost: a\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
    ];
    for start in starts {
        let begin = Instant::now();
        let mut stream = server.send(start).await;
        assert_eq!(read_to_close(&mut stream).await, "");
        assert!(begin.elapsed() >= SHORT);
    }
}

/// HT-01
#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let server = with_short_heads().await;
    let mut stream = server.send("GET / HTTP/1.1\r\nx: ").await;
    soon(async {
        // The server closes the connection, so that writing fails.
        while stream.write_all(b"a").await.is_ok() {
            sleep(SHORT / 10).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_second_head_has_the_limit_too() {
    let server = with_short_heads().await;
    let mut stream = server.connect().await;
    get(&mut stream, "/").await;
    // Idle, for longer than a head may take.
    sleep(2 * SHORT).await;
    get(&mut stream, "/").await;
    stream.write_all(b"GET / HT").await.unwrap();
    assert_eq!(read_to_close(&mut stream).await, "");
}

/// HT-02
#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Running::start(Server::new().idle_timeout(SHORT).unwrap()).await;
    let mut stream = server.connect().await;
    get(&mut stream, "/").await;
    let begin = Instant::now();
    assert_eq!(read_to_close(&mut stream).await, "");
    // Measured from a moment after the response was sent.
    assert!(begin.elapsed() >= SHORT / 2);
}

#[tokio::test]
async fn a_slow_call_is_neither_idle_nor_a_slow_head() {
    let server = Server::new().idle_timeout(SHORT).unwrap();
    let server = Running::start(server.head_timeout(SHORT).unwrap()).await;
    let mut stream = server.connect().await;
    get(&mut stream, "/slow").await;
    let mut stream = server.send(request("/frames")).await;
    read_until(&mut stream, "0\r\n\r\n").await;
}

/// HT-02
#[tokio::test]
async fn a_reader_that_stalls_is_cut_off() {
    let app = App::default();
    let server = Server::new().write_timeout(SHORT).unwrap();
    let server = Running::start_with(server, app.clone()).await;
    let _stream = server.send(request("/flood")).await;
    until(|| app.ended() == 1).await;
}

#[tokio::test]
async fn an_event_stream_is_cut_off_by_no_limit() {
    let app = App::default();
    let server = Server::new().write_timeout(SHORT).unwrap();
    let server = server.idle_timeout(SHORT).unwrap();
    let server = server.head_timeout(SHORT).unwrap();
    let server = Running::start_with(server, app.clone()).await;
    let mut stream = server.send(request("/events")).await;
    until(|| app.begun() == 1).await;
    sleep(LONGER).await;
    assert_eq!(app.ended(), 0);
    let mut bytes = vec![0; 1 << 20];
    soon(stream.read_exact(&mut bytes)).await.unwrap();
}

/// HT-02
#[tokio::test]
async fn a_request_body_that_stalls_gets_a_408() {
    let server = Running::start(Server::new().body_timeout(SHORT).unwrap()).await;
    for body in ["", "ab"] {
        let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n";
        let mut stream = server.send(format!("{head}{body}")).await;
        let response = read_to_close(&mut stream).await;
        assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
        assert!(response.contains("connection: close\r\n"), "{response}");
        assert!(response.contains(r#""status":408"#), "{response}");
    }
}

/// HT-02
#[tokio::test]
async fn a_request_body_that_drips_gets_a_408() {
    let server = Running::start(Server::new().body_timeout(SHORT).unwrap()).await;
    let stream = server
        .send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 99999\r\n\r\n")
        .await;
    let (mut reads, mut writes) = stream.into_split();
    let drip = async {
        while writes.write_all(b"a").await.is_ok() {
            sleep(SHORT / 10).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        response = read_until(&mut reads, r#""status":408}"#) => {
            assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
        }
        () = drip => {}
    }
}

#[tokio::test]
async fn a_grpc_request_may_pause() {
    let server = Running::start(Server::new().body_timeout(SHORT).unwrap()).await;
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\n";
    let mut stream = server
        .send(format!("{head}content-length: 5\r\n\r\n"))
        .await;
    sleep(LONGER).await;
    stream.write_all(b"hello").await.unwrap();
    let response = read_until(&mut stream, "hello").await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

#[tokio::test]
async fn an_old_connection_is_closed_after_its_call() {
    let server = Server::new().max_connection_age(SHORT, Duration::from_secs(60));
    let server = Running::start(server.unwrap()).await;
    let mut idle = server.connect().await;
    get(&mut idle, "/").await;
    assert_eq!(read_to_close(&mut idle).await, "");
    let mut slow = server.send(request("/slow")).await;
    let response = read_to_close(&mut slow).await;
    assert!(response.ends_with("hello"), "{response}");
}

#[tokio::test]
async fn the_call_of_an_old_connection_is_cut_off_after_the_grace() {
    let app = App::default();
    let server = Server::new().max_connection_age(SHORT, SHORT).unwrap();
    let server = Running::start_with(server, app.clone()).await;
    let _stream = server.send(request("/wait")).await;
    until(|| app.begun() == 1 && app.ended() == 1).await;
}
