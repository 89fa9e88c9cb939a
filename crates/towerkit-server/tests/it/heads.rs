//! Requests that the server answers itself.

use towerkit_server::Server;

use crate::setup::{Running, read_to_close, read_until};

/// Sends bytes, closes no side, and returns the status line of the response.
async fn status_of(server: &Running, request: &str) -> u16 {
    let mut stream = server.send(request).await;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    head["HTTP/1.1 ".len()..][..3].parse().unwrap()
}

/// HT-04
#[tokio::test]
async fn a_missing_a_duplicate_or_an_invalid_host_is_a_400() {
    let server = Running::start(Server::new()).await;
    for (hosts, expected) in [
        ("", 400),
        ("host: a\r\nhost: a\r\n", 400),
        ("host: a b\r\n", 400),
        ("host: a\r\n", 200),
        ("host:\r\n", 200),
    ] {
        let status = status_of(&server, &format!("GET / HTTP/1.1\r\n{hosts}\r\n")).await;
        assert_eq!(status, expected, "{hosts:?}");
    }
}

#[tokio::test]
async fn a_request_of_http_1_0_needs_no_host() {
    let server = Running::start(Server::new()).await;
    let mut stream = server.send("GET / HTTP/1.0\r\n\r\n").await;
    let response = read_to_close(&mut stream).await;
    assert!(response.starts_with("HTTP/1.0 200 "), "{response}");
}

/// HT-03
#[tokio::test]
async fn too_many_or_too_large_headers_are_a_431() {
    let server = Server::new().max_headers(10).unwrap();
    let server = Running::start(server.max_header_bytes(8 << 10).unwrap()).await;
    let with = |headers: &str| format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
    assert_eq!(status_of(&server, &with(&"a: b\r\n".repeat(9))).await, 200);
    assert_eq!(status_of(&server, &with(&"a: b\r\n".repeat(10))).await, 431);
    for size in [8 << 10, 16 << 10, 32 << 10] {
        let large = format!("a: {}\r\n", "b".repeat(size));
        assert_eq!(status_of(&server, &with(&large)).await, 431, "{size}");
    }
}

/// HT-03
#[tokio::test]
async fn a_long_uri_is_a_414() {
    let server = Running::start(Server::new()).await;
    for (length, expected) in [(60_000, 200), (70_000, 414), (100_000, 414)] {
        let request = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(length));
        assert_eq!(status_of(&server, &request).await, expected, "{length}");
    }
}

#[tokio::test]
async fn the_response_to_a_head_request_has_no_body() {
    let server = Running::start(Server::new()).await;
    let mut stream = server
        .send("HEAD / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    let responses = read_to_close(&mut stream).await;
    let (first, second) = responses.split_once("\r\n\r\n").unwrap();
    assert!(first.starts_with("HTTP/1.1 400 "), "{responses}");
    assert!(second.starts_with("HTTP/1.1 200 "), "{responses}");
}
