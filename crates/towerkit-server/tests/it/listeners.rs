//! Other listeners than TCP, and several of them.

use std::{
    convert::Infallible,
    future::Ready,
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use towerkit_core::Event;
use towerkit_http::PeerAddress;
use towerkit_server::{Accepted, Health, Listener, RequestBody, Server};

use crate::setup::{get, read_until, request};

async fn hello(_: Request<RequestBody>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_served() {
    let path = std::env::temp_dir().join(format!("towerkit-server-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let service = tower::service_fn(async |request: Request<RequestBody>| {
        assert!(request.extensions().get::<PeerAddress>().is_none());
        hello(request).await
    });
    let client = async {
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        get(&mut stream, "/").await;
    };
    let drained = Server::new().serve(listener, service, client).await;
    assert!(drained.is_complete());
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn several_listeners_shut_down_together() {
    let health = Health::new();
    let (app, admin) = (bind().await, bind().await);
    let addresses = [app.local_addr().unwrap(), admin.local_addr().unwrap()];
    let client = async {
        let mut stream = TcpStream::connect(addresses[0]).await.unwrap();
        get(&mut stream, "/").await;
        let mut stream = TcpStream::connect(addresses[1]).await.unwrap();
        stream
            .write_all(request("/readyz").as_bytes())
            .await
            .unwrap();
        let response = read_until(&mut stream, "ok\n").await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    };
    let drained = Server::new()
        .health(health.clone())
        .listen(app, tower::service_fn(hello))
        .listen(admin, health.service())
        .run(client)
        .await;
    assert!(drained.is_complete());
    for address in addresses {
        assert!(TcpStream::connect(address).await.is_err());
    }
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Fails some times before each connection, as if there were no descriptors left.
struct Exhausted {
    inner: TcpListener,
    failures: u32,
}

impl Listener for Exhausted {
    type Io = TcpStream;
    type Handshake = Ready<io::Result<Accepted<TcpStream>>>;

    async fn accept(&mut self) -> io::Result<Self::Handshake> {
        const EMFILE: i32 = 24;
        if self.failures > 0 {
            self.failures -= 1;
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        self.failures = 3;
        Listener::accept(&mut self.inner).await
    }
}

#[tokio::test]
async fn a_process_without_descriptors_accepts_later() {
    let inner = bind().await;
    let address = inner.local_addr().unwrap();
    let failed = Arc::new(Mutex::new(0));
    let counts = failed.clone();
    let server = Server::new().events(move |event: &Event| {
        if matches!(
            event,
            Event::Other {
                event: "accept_failed",
                ..
            }
        ) {
            *counts.lock().unwrap() += 1;
        }
    });
    let client = async {
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            get(&mut stream, "/").await;
        }
    };
    let listener = Exhausted { inner, failures: 3 };
    server
        .serve(listener, tower::service_fn(hello), client)
        .await;
    assert!(*failed.lock().unwrap() >= 6);
}
