//! Two thousand requests a second to a real server.

use std::{
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::interval,
};

use crate::telemetry::Service;

const CONNECTIONS: usize = 8;
/// Of one connection: so there are 2,000 requests a second.
const EVERY: Duration = Duration::from_millis(4);
const TIME: Duration = Duration::from_secs(2);

/// How the requests fared, none of which failed.
pub(crate) struct Load {
    pub(crate) p99: Duration,
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A server on a thread of its own, until it is dropped.
struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start(service: Option<Service>) -> Self {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let app = Router::new().route("/items/{id}", get(|| async { "an item" }));
            let (app, _scope) = match service {
                Some(service) => {
                    let scope = tracing::dispatcher::set_default(&service.dispatch);
                    (service.observe(app), Some(scope))
                }
                None => (app, None),
            };
            runtime().block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    served = async { axum::serve(listener, app).await } => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: told.recv().unwrap(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(
            ended.is_none_or(|ended| ended.is_ok()),
            "the server panicked"
        );
    }
}

/// Makes requests for a while; `halfway` is called in the middle.
pub(crate) fn run(service: Option<Service>, halfway: impl FnOnce()) -> Load {
    let server = Server::start(service);
    let mut latencies = runtime().block_on(async {
        ask(server.address, TIME / 4).await;
        let first = asking(server.address).await;
        halfway();
        [first, asking(server.address).await].concat()
    });
    latencies.sort_unstable();
    let expected = CONNECTIONS * (TIME.as_millis() / EVERY.as_millis()) as usize;
    let count = latencies.len();
    assert!(count * 10 >= expected * 8, "{count} of {expected} requests");
    Load {
        p99: latencies[count * 99 / 100],
    }
}

/// All connections at once, for half of the time.
async fn asking(address: SocketAddr) -> Vec<Duration> {
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| tokio::spawn(ask(address, TIME / 2)))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    latencies
}

/// Makes requests over one connection; each must be answered well.
async fn ask(address: SocketAddr, time: Duration) -> Vec<Duration> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let (mut ticks, start) = (interval(EVERY), Instant::now());
    let mut latencies = Vec::new();
    while start.elapsed() < time {
        ticks.tick().await;
        let begun = Instant::now();
        let request = Request::get("/items/7").header("host", "localhost");
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap());
        let response = response.await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "an item");
        latencies.push(begun.elapsed());
    }
    connection.abort();
    latencies
}
