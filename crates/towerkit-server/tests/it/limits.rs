//! The limits of connections, and invalid settings.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towerkit_core::ConfigError;
use towerkit_server::Server;

use crate::setup::{Running, get, read_to_close, read_until, request, soon};

#[tokio::test]
async fn connections_over_the_limit_wait_for_others_to_close() {
    let server = Running::start(Server::new().max_connections(2).unwrap()).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    get(&mut first, "/").await;
    get(&mut second, "/").await;
    let mut third = server.send(request("/")).await;
    // The first is served while the third waits.
    get(&mut first, "/").await;
    assert!(third.try_read(&mut [0; 9]).is_err());
    drop(first);
    read_until(&mut third, "hello").await;
    get(&mut second, "/").await;
}

#[tokio::test]
async fn a_connection_that_breaks_frees_its_place() {
    let server = Running::start(Server::new().max_connections(1).unwrap()).await;
    for _ in 0..20 {
        let mut stream = server.send(b"nonsense\r\n\r\n").await;
        let _ = soon(stream.read_to_end(&mut Vec::new())).await;
    }
    let mut stream = server.connect().await;
    get(&mut stream, "/").await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Running::start(Server::new()).await;
    let mut stream = server.connect().await;
    let requests = [request("/slow"), request("/")].concat();
    stream.write_all(requests.as_bytes()).await.unwrap();
    for _ in 0..2 {
        read_until(&mut stream, "hello").await;
    }
}

/// The setter of a time, and its name.
type Setter = fn(Server, Duration) -> Result<Server, ConfigError>;

#[test]
fn invalid_settings_are_errors() {
    let times: [(Setter, &str); 9] = [
        (Server::head_timeout, "head timeout"),
        (Server::idle_timeout, "idle timeout"),
        (Server::write_timeout, "write timeout"),
        (Server::body_timeout, "body timeout"),
        (Server::handshake_timeout, "handshake timeout"),
        (Server::ping_interval, "ping interval"),
        (Server::drain_timeout, "drain timeout"),
        (
            |server, age| server.max_connection_age(age, Duration::from_secs(1)),
            "max connection age",
        ),
        (
            |server, grace| server.max_connection_age(Duration::from_secs(1), grace),
            "grace of old connections",
        ),
    ];
    for (set, name) in times {
        for time in [Duration::ZERO, Duration::MAX] {
            let error = set(Server::new(), time).unwrap_err();
            assert_eq!(error.setting(), name);
        }
    }
    let numbers = [
        Server::new().max_connections(0).err(),
        Server::new().max_connections(usize::MAX).err(),
        Server::new().max_headers(0).err(),
        Server::new().max_headers(usize::MAX).err(),
        Server::new().max_header_bytes(8191).err(),
        Server::new().max_header_bytes(usize::MAX).err(),
        Server::new().max_streams(0).err(),
        Server::new().max_resets(0).err(),
    ];
    assert!(numbers.iter().all(Option::is_some), "{numbers:?}");
}

#[tokio::test]
async fn the_largest_settings_serve() {
    let year = Duration::from_secs(365 * 24 * 3600);
    let server = Server::new()
        .head_timeout(year)
        .and_then(|server| server.idle_timeout(year))
        .and_then(|server| server.write_timeout(year))
        .and_then(|server| server.body_timeout(year))
        .and_then(|server| server.handshake_timeout(year))
        .and_then(|server| server.ping_interval(year))
        .and_then(|server| server.drain_timeout(year))
        .and_then(|server| server.max_connection_age(year, year))
        .and_then(|server| server.max_connections(1 << 32))
        .and_then(|server| server.max_headers(10_000))
        .and_then(|server| server.max_header_bytes(16 << 20))
        .and_then(|server| server.max_streams(u32::MAX))
        .and_then(|server| server.max_resets(usize::MAX))
        .unwrap()
        .half_close_timeout(Duration::MAX);
    let server = Running::start(server).await;
    let mut stream = server.connect().await;
    get(&mut stream, "/slow").await;
    drop(stream);
    assert!(soon(server.stop()).await.unwrap().is_complete());
}

#[tokio::test]
async fn the_smallest_settings_close_connections_and_do_not_spin() {
    let least = Duration::from_nanos(1);
    let server = Server::new()
        .head_timeout(least)
        .and_then(|server| server.idle_timeout(least))
        .and_then(|server| server.write_timeout(least))
        .and_then(|server| server.body_timeout(least))
        .and_then(|server| server.handshake_timeout(least))
        .and_then(|server| server.ping_interval(least))
        .and_then(|server| server.max_connection_age(least, least))
        .unwrap();
    let server = Running::start(server).await;
    for path in ["/", "/slow", "/flood"] {
        let mut stream = server.send(request(path)).await;
        read_to_close(&mut stream).await;
    }
    // Without the limits of heads and age, calls begin.
    let server = Server::new()
        .idle_timeout(least)
        .and_then(|server| server.write_timeout(least))
        .unwrap();
    let server = Running::start(server).await;
    let mut stream = server.connect().await;
    get(&mut stream, "/slow").await;
    assert_eq!(read_to_close(&mut stream).await, "");
    let mut stream = server.send(request("/flood")).await;
    read_until(&mut stream, "\r\n\r\n").await;
}
