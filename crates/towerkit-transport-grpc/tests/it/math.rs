//! A service with one method of each kind, its messages, and servers for it.

use std::{convert::Infallible, pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response};
use tokio::{net::TcpListener, task::AbortHandle};
use tonic::{
    Status, Streaming,
    body::Body,
    server::{
        ClientStreamingService, Grpc, NamedService, ServerStreamingService, StreamingService,
    },
    transport::{Channel, Endpoint, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::{Service, ServiceExt};
use towerkit_endpoint::{IntoRpcError, Request as Call, RpcError};
use towerkit_transport_grpc::unary;

/// The message of the wire.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Pair {
    #[prost(int64, tag = "1")]
    pub(crate) a: i64,
    #[prost(int64, tag = "2")]
    pub(crate) b: i64,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) padding: Vec<u8>,
}

/// The reply of the wire.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Number {
    #[prost(int64, tag = "1")]
    pub(crate) value: i64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) padding: Vec<u8>,
}

pub(crate) fn pair(a: i64, b: i64) -> Pair {
    Pair {
        a,
        b,
        padding: Vec::new(),
    }
}

pub(crate) fn number(value: i64) -> Number {
    Number {
        value,
        padding: Vec::new(),
    }
}

impl From<Pair> for (i64, i64) {
    fn from(pair: Pair) -> Self {
        (pair.a, pair.b)
    }
}

impl From<Number> for i64 {
    fn from(number: Number) -> Self {
        number.value
    }
}

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// `test.Math`: `/Sum` is the endpoint; `/Count` counts up to `a`, `/Add` adds up, `/Echo` returns each number.
#[derive(Clone)]
pub(crate) struct Math<S>(pub(crate) S);

impl<S> NamedService for Math<S> {
    const NAME: &'static str = "test.Math";
}

impl<S, B> Service<Request<B>> for Math<S>
where
    S: Service<Call<Pair>, Response = Number, Error: IntoRpcError> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Error: Into<tower::BoxError> + Send> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(
        &mut self,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let sum = unary::<Pair, Number, Pair, _>("sum", self.0.clone());
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Number, Pair>::default());
            Ok(match request.uri().path() {
                "/test.Math/Sum" => sum.oneshot(request).await?,
                "/test.Math/Count" => grpc.server_streaming(Count, request).await,
                "/test.Math/Add" => grpc.client_streaming(Add, request).await,
                "/test.Math/Echo" => grpc.streaming(Echo, request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

pub(crate) type Numbers = Pin<Box<dyn Stream<Item = Result<Number, Status>> + Send>>;

struct Count;

impl ServerStreamingService<Pair> for Count {
    type Response = Number;
    type ResponseStream = Numbers;
    type Future = BoxFuture<Result<tonic::Response<Numbers>, Status>>;

    fn call(&mut self, request: tonic::Request<Pair>) -> Self::Future {
        let numbers = stream::iter((1..=request.into_inner().a).map(|n| Ok(number(n))));
        Box::pin(async { Ok(tonic::Response::new(numbers.boxed())) })
    }
}

struct Add;

impl ClientStreamingService<Pair> for Add {
    type Response = Number;
    type Future = BoxFuture<Result<tonic::Response<Number>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Pair>>) -> Self::Future {
        Box::pin(async {
            let mut sum = 0;
            let mut pairs = request.into_inner();
            while let Some(pair) = pairs.message().await? {
                sum += pair.a + pair.b;
            }
            Ok(tonic::Response::new(number(sum)))
        })
    }
}

struct Echo;

impl StreamingService<Pair> for Echo {
    type Response = Number;
    type ResponseStream = Numbers;
    type Future = BoxFuture<Result<tonic::Response<Numbers>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Pair>>) -> Self::Future {
        let pairs = request.into_inner();
        let numbers = pairs.map(|pair| pair.map(|pair| number(pair.a)));
        Box::pin(async { Ok(tonic::Response::new(numbers.boxed())) })
    }
}

/// An endpoint that adds the two numbers of a pair.
pub(crate) fn adder() -> impl Service<
    Call<Pair>,
    Response = Number,
    Error = RpcError,
    Future = impl Future<Output = Result<Number, RpcError>> + Send,
> + Clone
+ Send
+ Sync
+ 'static {
    towerkit_endpoint::endpoint_fn(
        (),
        |(), pair: Pair| async move { Ok(number(pair.a + pair.b)) },
    )
}

/// The address of a server, which stops when this is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves a service behind the layers of a tonic server.
    pub(crate) async fn start<F>(run: impl FnOnce(TcpIncoming) -> F) -> Self
    where
        F: Future<Output = Result<(), tonic::transport::Error>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(run(TcpIncoming::from(listener))).abort_handle();
        Self { url, task }
    }

    /// Serves `test.Math` with this endpoint as `Sum`.
    pub(crate) async fn math<S>(sum: S) -> Self
    where
        S: Service<Call<Pair>, Response = Number, Error: IntoRpcError> + Clone,
        S: Send + Sync + 'static,
        S::Future: Send,
    {
        Self::start(|incoming| {
            let server = tonic::transport::Server::builder().add_service(Math(sum));
            server.serve_with_incoming(incoming)
        })
        .await
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(self.url.clone()).unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within ten seconds: {what}");
}
