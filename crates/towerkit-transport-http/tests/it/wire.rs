//! Calls of handlers, by value and over a socket, and observers of these calls.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower::{Service, ServiceExt};
use towerkit_core::{BoxError, Call, CallEnd, Guard, Observer, Policy, Rejection};

/// A response whose body is read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Calls a service once, and reads the response.
pub(crate) async fn call<S, B, R>(service: S, request: Request<B>) -> Answer
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let Ok(response) = service.oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(Into::into).unwrap();
    Answer {
        status: head.status,
        headers: head.headers,
        body: body.to_bytes(),
    }
}

/// Makes a POST request.
pub(crate) fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/").body(Full::from(body.into())).unwrap()
}

/// Runs a future that needs neither time nor sockets.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

/// Waits for a condition, with a generous limit.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, wait).await.expect("the condition holds");
}

/// Returns a quota of one call in an hour.
pub(crate) fn one_per_hour() -> towerkit_ratelimit::Quota {
    towerkit_ratelimit::Quota::new(1, Duration::from_secs(3600)).unwrap()
}

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Serves a service on a free port of this machine, over HTTP/1.1 and HTTP/2.
pub(crate) async fn listen<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                // An error means that the caller went away.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// A connection on which a test writes and reads HTTP/1.1 as text.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            read: Vec::new(),
        }
    }

    pub(crate) fn accepted(stream: TcpStream) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
    }

    /// Reads up to and including this text.
    pub(crate) async fn read_to(&mut self, end: &str) -> String {
        let find = |read: &[u8]| {
            let at = read.windows(end.len()).position(|w| w == end.as_bytes());
            at.map(|at| at + end.len())
        };
        loop {
            if let Some(at) = find(&self.read) {
                let rest = self.read.split_off(at);
                let text = std::mem::replace(&mut self.read, rest);
                return String::from_utf8(text).unwrap();
            }
            let more = timeout(LIMIT, self.stream.read_buf(&mut self.read)).await;
            let more = more.expect("the other side sends").unwrap();
            assert!(more > 0, "the connection ended: {:?}", self.read);
        }
    }

    /// Reads a head, and returns it in lower case.
    pub(crate) async fn head(&mut self) -> String {
        self.read_to("\r\n\r\n").await.to_lowercase()
    }

    /// Waits for the end of the connection, and returns the bytes before.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        let end = self.stream.read_to_end(&mut self.read);
        timeout(LIMIT, end).await.expect("it ends").ok();
        self.read
    }
}

/// Records the ends of calls.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<CallEnd>>>);

impl Recorder {
    /// Returns the end of the only call since the last time.
    pub(crate) fn only(&self) -> CallEnd {
        let mut ends = self.0.lock().unwrap();
        assert_eq!(ends.len(), 1);
        ends.remove(0)
    }
}

impl Policy for Recorder {
    type CallState = ();

    fn finish(&self, (): (), end: &CallEnd) {
        self.0.lock().unwrap().push(end.clone());
    }
}

impl<Req> Observer<Req> for Recorder {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

/// Rejects every call.
#[derive(Clone)]
pub(crate) struct Rejects(pub(crate) Rejection);

impl Policy for Rejects {
    type CallState = ();

    fn finish(&self, (): (), _end: &CallEnd) {}
}

impl<Req> Guard<Req> for Rejects {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        Err(self.0.clone())
    }
}

/// Counts how often it is dropped.
#[derive(Clone, Default)]
pub(crate) struct Dropped(pub(crate) Arc<Mutex<u32>>);

impl Dropped {
    pub(crate) fn count(&self) -> u32 {
        *self.0.lock().unwrap()
    }

    /// Returns a value that is counted when it is dropped.
    pub(crate) fn guard(&self) -> impl Send + 'static {
        struct Count(Dropped);
        impl Drop for Count {
            fn drop(&mut self) {
                *self.0.0.lock().unwrap() += 1;
            }
        }
        Count(self.clone())
    }
}
