//! Servers to test, and a client that writes bytes.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use towerkit_server::{Drained, RequestBody, Server};

/// A limit that the tests wait for.
pub(crate) const SHORT: Duration = Duration::from_millis(250);
/// Several of these limits.
pub(crate) const LONGER: Duration = Duration::from_millis(900);
/// No machine is that slow.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type BoxedBody = UnsyncBoxBody<Bytes, io::Error>;
pub(crate) type BoxedCall =
    Pin<Box<dyn Future<Output = Result<Response<BoxedBody>, Infallible>> + Send>>;

/// A server that runs until it is stopped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Drained>,
}

impl Running {
    /// Serves the routes of [`app`].
    pub(crate) async fn start(server: Server) -> Self {
        Self::start_with(server, App::default()).await
    }

    pub(crate) async fn start_with(server: Server, app: App) -> Self {
        let service = tower::service_fn(move |request| app.clone().call(request));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = server.listen(listener, service);
        let task = tokio::spawn(server.run(async {
            stopped.await.unwrap();
        }));
        Self {
            address,
            stop,
            task,
        }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Connects, and sends these bytes.
    pub(crate) async fn send(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        stream
    }

    /// Begins the shutdown.
    pub(crate) fn stop(self) -> JoinHandle<Drained> {
        self.stop.send(()).unwrap();
        self.task
    }

    /// Drops the server without a shutdown.
    pub(crate) async fn abort(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Waits for a future with patience.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let result = timeout(PATIENCE, future).await;
    result.expect("it should have happened by now")
}

/// Waits until a condition holds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Reads until the server closes the connection, or resets it.
pub(crate) async fn read_to_close(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset keeps the bytes before it.
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `end` has arrived.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut bytes = Vec::new();
    soon(async {
        while !bytes.ends_with(end.as_bytes()) {
            match stream.read_u8().await {
                Ok(byte) => bytes.push(byte),
                Err(error) => {
                    let read = String::from_utf8_lossy(&bytes);
                    panic!("{error} before {end:?}, after {read:?}")
                }
            }
        }
    })
    .await;
    String::from_utf8(bytes).unwrap()
}

/// Sends a `GET`, reads its response and keeps the connection open.
pub(crate) async fn get(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> String {
    stream.write_all(request(path).as_bytes()).await.unwrap();
    read_until(stream, "hello").await
}

pub(crate) fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

/// The service of the tests, and its counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct App {
    /// The calls to `/wait` and `/endless` that have begun.
    pub(crate) begun: Arc<AtomicUsize>,
    /// Those of them that were dropped or have ended.
    pub(crate) ended: Arc<AtomicUsize>,
}

/// Counts the end of a call when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl App {
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(SeqCst)
    }

    pub(crate) fn ended(&self) -> usize {
        self.ended.load(SeqCst)
    }

    fn begin(&self) -> Counted {
        self.begun.fetch_add(1, SeqCst);
        Counted(self.ended.clone())
    }

    fn call(self, request: Request<RequestBody>) -> BoxedCall {
        Box::pin(async move { Ok(self.respond(request).await) })
    }

    async fn respond(self, request: Request<RequestBody>) -> Response<BoxedBody> {
        match request.uri().path() {
            // Never answers.
            "/wait" => {
                let _call = self.begin();
                std::future::pending().await
            }
            "/slow" => {
                sleep(LONGER).await;
                text("hello")
            }
            // Answers with ten frames over some time.
            "/frames" => {
                let frames = stream::iter(0..10).then(|_| async {
                    sleep(LONGER / 10).await;
                    Ok(Bytes::from_static(b"frame"))
                });
                Response::new(boxed(frames))
            }
            "/events" => {
                let mut response = Response::new(boxed(flood(self.begin())));
                let stream = http::HeaderValue::from_static("text/event-stream");
                response.headers_mut().insert("content-type", stream);
                response
            }
            // Sends without an end, as fast as it is read.
            "/flood" => Response::new(boxed(flood(self.begin()))),
            // Sends a head and no body.
            "/endless" => {
                let call = self.begin();
                let frames = stream::once(async move {
                    let _call = call;
                    std::future::pending().await
                });
                Response::new(boxed(frames))
            }
            "/echo" => match request.into_body().collect().await {
                Ok(body) => {
                    let body = Full::new(body.to_bytes()).map_err(|never| match never {});
                    Response::new(body.boxed_unsync())
                }
                Err(error) => {
                    let mut response = text(&error.to_string());
                    *response.status_mut() = http::StatusCode::BAD_REQUEST;
                    response
                }
            },
            "/panic" => panic!("on purpose"),
            _ => text("hello"),
        }
    }
}

fn flood(call: Counted) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(call, |call| async {
        Some((Ok(Bytes::from_static(&[b'x'; 1 << 16])), call))
    })
}

fn boxed(frames: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> BoxedBody {
    StreamBody::new(frames.map(|bytes| bytes.map(Frame::data))).boxed_unsync()
}

pub(crate) fn text(text: &str) -> Response<BoxedBody> {
    let body = Full::from(text.to_owned()).map_err(|never| match never {});
    Response::new(body.boxed_unsync())
}
