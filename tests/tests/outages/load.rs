//! Requests to a real server, and calls that are polled by hand.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::oneshot,
};
use tower::Service as _;

use crate::telemetry::Service;

const CONNECTIONS: usize = 8;
/// Of one connection, in each half of a run.
const REQUESTS: usize = 250;

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn app() -> Router {
    Router::new().route("/items/{id}", get(|| async { "an item" }))
}

/// A server on a thread of its own, until it is dropped.
struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start(service: Service) -> Self {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let _scope = tracing::dispatcher::set_default(&service.dispatch);
            let app = service.observe(app());
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

/// Makes requests, each of which must be answered well; `halfway` is called in the middle.
pub(crate) fn serve(service: Service, halfway: impl FnOnce()) {
    let server = Server::start(service);
    let load = || runtime().block_on(asking(server.address));
    load();
    halfway();
    load();
}

/// All connections at once.
async fn asking(address: SocketAddr) {
    let tasks = [(); CONNECTIONS].map(|()| tokio::spawn(ask(address)));
    for task in tasks {
        task.await.unwrap();
    }
}

/// Makes requests over one connection.
async fn ask(address: SocketAddr) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..REQUESTS {
        let request = Request::get("/items/7").header("host", "localhost");
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap());
        let response = response.await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "an item");
    }
    connection.abort();
}

/// Makes so many calls, and polls each once, and each frame of its body: nothing may be pending.
pub(crate) fn poll(service: &Service, calls: usize) {
    let _scope = tracing::dispatcher::set_default(&service.dispatch);
    let mut app = service.observe(app());
    let mut cx = Context::from_waker(Waker::noop());
    for call in 0..calls {
        let request = Request::get("/items/7").body(Body::empty()).unwrap();
        let Poll::Ready(Ok(response)) = pin!(app.call(request)).poll(&mut cx) else {
            panic!("call {call} waits");
        };
        let mut body = pin!(response.into_body());
        while !body.is_end_stream() {
            let Poll::Ready(Some(Ok(_))) = body.as_mut().poll_frame(&mut cx) else {
                panic!("the body of call {call} waits");
            };
        }
    }
}
