//! The order of the shutdown.

use std::sync::{Arc, Mutex};

use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::oneshot,
    time::{Instant, sleep},
};
use towerkit_core::Event;
use towerkit_server::{Drained, Health, Server, shutdown_signal};

use crate::setup::{App, Running, SHORT, get, read_to_close, read_until, request, soon, until};

/// HT-12
#[tokio::test]
async fn idle_connections_are_closed_at_once_and_calls_end() {
    let server = Running::start(Server::new()).await;
    let mut idle = server.connect().await;
    get(&mut idle, "/").await;
    let mut silent = server.connect().await;
    let mut slow = server.send(request("/slow")).await;
    let mut frames = server.send(request("/frames")).await;
    read_until(&mut frames, "frame").await;

    let address = server.address;
    let task = server.stop();
    assert_eq!(read_to_close(&mut idle).await, "");
    assert_eq!(read_to_close(&mut silent).await, "");
    assert!(TcpStream::connect(address).await.is_err());
    let response = read_to_close(&mut slow).await;
    assert!(response.contains("connection: close\r\n"), "{response}");
    assert!(response.ends_with("hello"), "{response}");
    let body = read_to_close(&mut frames).await;
    assert!(body.ends_with("0\r\n\r\n"), "{body}");
    assert_eq!(soon(task).await.unwrap(), Drained::Complete);
}

#[tokio::test]
async fn a_first_head_that_is_half_there_is_served() {
    let health = Health::new();
    let server = Running::start(Server::new().health(health.clone())).await;
    let mut stream = server.send("GET / HTTP/1.1\r\n").await;
    // The server has read this much once it has served a later connection.
    get(&mut server.connect().await, "/").await;
    let task = server.stop();
    soon(health.stopping()).await;
    sleep(SHORT).await;
    stream.write_all(b"host: a\r\n\r\n").await.unwrap();
    let response = read_to_close(&mut stream).await;
    assert!(response.ends_with("hello"), "{response}");
    assert_eq!(soon(task).await.unwrap(), Drained::Complete);
}

/// HT-12
#[tokio::test]
async fn calls_that_are_left_are_dropped_and_counted() {
    let app = App::default();
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let server = Server::new().drain_timeout(SHORT).unwrap();
    let server = server.events(move |event: &Event| {
        if let Event::Other { event, message, .. } = event {
            seen.lock().unwrap().push((*event, message.to_string()));
        }
    });
    let server = Running::start_with(server, app.clone()).await;
    let mut streams = Vec::new();
    for path in ["/wait", "/wait", "/endless"] {
        streams.push(server.send(request(path)).await);
    }
    until(|| app.begun() == 3).await;
    let expected = Drained::CutOff {
        calls: 3,
        connections: 3,
    };
    assert_eq!(soon(server.stop()).await.unwrap(), expected);
    assert_eq!(app.ended(), 3);
    for stream in &mut streams {
        read_to_close(stream).await;
    }
    let (last, message) = events.lock().unwrap().last().cloned().unwrap();
    assert_eq!(last, "cut_off");
    assert_eq!(message, "cut off: 3 calls, 3 connections");
}

#[tokio::test]
async fn a_call_that_blocks_its_thread_does_not_hang_the_shutdown() {
    // Two threads: one is blocked.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    let begun = Arc::new(Mutex::new(0));
    let service = tower::service_fn({
        let (blocked, begun) = (blocked.clone(), begun.clone());
        move |_: http::Request<towerkit_server::RequestBody>| {
            *begun.lock().unwrap() += 1;
            let _ = blocked.lock().unwrap().recv();
            std::future::ready(Ok::<_, std::io::Error>(crate::setup::text("hello")))
        }
    });
    let drained = runtime.spawn(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new().drain_timeout(SHORT).unwrap();
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request("/").as_bytes()).await.unwrap();
            until(|| *begun.lock().unwrap() == 1).await;
        };
        server.serve(listener, service, client).await
    });
    let drained = soon(drained).await.unwrap();
    assert!(!drained.is_complete());
    drop(unblock);
    runtime.shutdown_background();
}

#[tokio::test]
async fn a_dropped_server_cuts_off_its_calls() {
    let (app, health) = (App::default(), Health::new());
    let server = Server::new().health(health.clone());
    let server = Running::start_with(server, app.clone()).await;
    let mut stream = server.send(request("/wait")).await;
    until(|| app.begun() == 1).await;
    assert!(health.is_ready());
    server.abort().await;
    assert!(!health.is_ready());
    assert_eq!(read_to_close(&mut stream).await, "");
    until(|| app.ended() == 1).await;
}

#[tokio::test]
async fn the_steps_of_the_shutdown_have_an_order() {
    let health = Health::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = tower::service_fn(async |_: http::Request<towerkit_server::RequestBody>| {
        Ok::<_, std::io::Error>(crate::setup::text("hello"))
    });
    let (deregistered, is_deregistered) = oneshot::channel();
    let is_ready = health.clone();
    let server = Server::new()
        .health(health.clone())
        .on_stop(async move {
            // The server is ready, and serves new connections.
            assert!(is_ready.is_ready());
            get(&mut TcpStream::connect(address).await.unwrap(), "/").await;
            deregistered.send(Instant::now()).unwrap();
        })
        .shutdown_delay(SHORT);
    let task = tokio::spawn(server.serve(listener, service, async {}));
    let is_deregistered = soon(is_deregistered).await.unwrap();
    soon(health.stopping()).await;
    assert!(is_deregistered.elapsed() >= SHORT);
    assert!(!health.is_ready());
    assert_eq!(soon(task).await.unwrap(), Drained::Complete);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn an_on_stop_that_hangs_is_given_up() {
    let server = Server::new().on_stop(std::future::pending());
    let server = server.drain_timeout(SHORT).unwrap();
    assert_eq!(soon(server.run(async {})).await, Drained::Complete);
}

#[cfg(unix)]
#[tokio::test]
async fn signals_end_the_wait_each() {
    let mut signal = shutdown_signal().unwrap();
    for name in ["TERM", "INT", "TERM"] {
        let pid = std::process::id().to_string();
        let kill = std::process::Command::new("kill")
            .args(["-s", name, &pid])
            .status();
        assert!(kill.unwrap().success());
        soon(&mut signal).await;
    }
}
