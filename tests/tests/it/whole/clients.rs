//! Retries and hedges over the clients that people use, as they first write them, against servers on the loopback interface.

use std::{
    convert::Infallible,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, State},
    routing::put,
};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use tonic::transport::{
    Channel, Endpoint,
    server::{Server as GrpcServer, TcpIncoming},
};
use tonic_app::{
    HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneService};
use towerkit_core::BoxError;
use towerkit_hedge::HedgeLayer;
use towerkit_http::{HttpExt, Reqwest};
use towerkit_retry::RetryLayer;

use super::server::Server;

/// Answers the first attempts of a call with 503 or, if they are to be hedged, not at all. Later ones get their body back.
async fn echo(
    State(attempts): State<Arc<AtomicU32>>,
    Path((trouble, times)): Path<(String, u32)>,
    body: Bytes,
) -> Result<Bytes, StatusCode> {
    match (attempts.fetch_add(1, Ordering::Relaxed), &*trouble) {
        (attempt, _) if attempt >= times => Ok(body),
        (_, "fail") => Err(StatusCode::SERVICE_UNAVAILABLE),
        _ => std::future::pending().await,
    }
}

/// Serves [`echo`]; returns the server, and the number of attempts that it got.
async fn echo_server() -> (Server, Arc<AtomicU32>) {
    let attempts = Arc::new(AtomicU32::new(0));
    let route = Router::new().route("/{trouble}/{times}", put(echo));
    let server = Server::start(route.with_state(attempts.clone())).await;
    (server, attempts)
}

fn retry() -> RetryLayer {
    let ms = Duration::from_millis;
    RetryLayer::new().backoff(ms(1), ms(10)).unwrap()
}

fn hedge() -> HedgeLayer {
    HedgeLayer::after(Duration::from_millis(20)).unwrap()
}

/// The combinations of the two layers over one client, written out as in an application.
macro_rules! combinations {
    ($client:expr) => {
        [
            (
                "retry",
                BoxCloneService::new(
                    ServiceBuilder::new()
                        .layer(retry().http_client())
                        .service($client),
                ),
            ),
            (
                "hedge",
                BoxCloneService::new(
                    ServiceBuilder::new()
                        .layer(hedge().http_client())
                        .service($client),
                ),
            ),
            (
                "retry of hedge",
                BoxCloneService::new(
                    ServiceBuilder::new()
                        .layer(retry().http_client())
                        .layer(hedge().http_client())
                        .service($client),
                ),
            ),
            (
                "hedge of retry",
                BoxCloneService::new(
                    ServiceBuilder::new()
                        .layer(hedge().http_client())
                        .layer(retry().http_client())
                        .service($client),
                ),
            ),
        ]
    };
}

type Combination<B, R, E> = (&'static str, BoxCloneService<Request<B>, Response<R>, E>);

/// Sends a body through each combination to a server that fails, is slow, and fails twice, where the layers can help with that.
async fn the_body_arrives_whole<B, R, E>(
    combinations: [Combination<B, R, E>; 4],
    body: impl Fn() -> B,
) where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
    E: Into<BoxError>,
{
    for (name, service) in combinations {
        let troubles: &[_] = match name {
            "retry" => &["fail/1", "fail/2"],
            "hedge" => &["fail/1", "slow/1"],
            _ => &["fail/1", "slow/1", "fail/2"],
        };
        for trouble in troubles {
            let (server, attempts) = echo_server().await;
            let request = Request::put(server.url(&format!("/{trouble}")));
            let call = service.clone().oneshot(request.body(body()).unwrap());
            let response = call.await.map_err(Into::into).unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{name}: {trouble}");
            let echoed = response.into_body().collect().await;
            let echoed = echoed.map_err(Into::into).unwrap().to_bytes();
            assert_eq!(echoed, "hello world", "{name}: {trouble}");
            let expected = if trouble.ends_with('1') { 2 } else { 3 };
            let attempts = attempts.load(Ordering::Relaxed);
            assert_eq!(attempts, expected, "{name}: {trouble}");
        }
    }
}

fn frames() -> impl Stream<Item = Result<Bytes, Infallible>> + Send + Sync {
    let frames = ["hello ", "world"].map(|part| Ok(Bytes::from_static(part.as_bytes())));
    stream::iter(frames)
}

#[tokio::test]
async fn bytes_are_sent_again_over_hyper_util() {
    let combinations = combinations!(towerkit_http::client::<Full<Bytes>>());
    the_body_arrives_whole(combinations, || Full::from("hello world")).await;
}

#[tokio::test]
async fn a_body_of_axum_is_sent_again() {
    let combinations = combinations!(towerkit_http::client::<axum::body::Body>());
    the_body_arrives_whole(combinations, || axum::body::Body::from_stream(frames())).await;
}

#[tokio::test]
async fn a_body_of_reqwest_is_sent_again() {
    let combinations = || combinations!(Reqwest(reqwest::Client::new()));
    the_body_arrives_whole(combinations(), || reqwest::Body::from("hello world")).await;
    let streamed = || reqwest::Body::wrap(StreamBody::new(frames().map_ok(Frame::data)));
    the_body_arrives_whole(combinations(), streamed).await;
}

/// reqwest takes any body by way of the adapter.
#[tokio::test]
async fn other_bodies_are_sent_again_over_reqwest() {
    let combinations = combinations!(Reqwest(reqwest::Client::new()));
    the_body_arrives_whole(combinations, || Full::from("hello world")).await;
    let combinations = combinations!(Reqwest(reqwest::Client::new()));
    the_body_arrives_whole(combinations, || axum::body::Body::from_stream(frames())).await;
}

/// A greeter that fails the first calls, or does not answer them.
struct TroubledGreeter {
    attempts: Arc<AtomicU32>,
    trouble: &'static str,
    times: u32,
}

#[tonic::async_trait]
impl Greeter for TroubledGreeter {
    async fn hello(
        &self,
        request: tonic::Request<HelloRequest>,
    ) -> Result<tonic::Response<HelloReply>, tonic::Status> {
        match self.attempts.fetch_add(1, Ordering::Relaxed) {
            attempt if attempt >= self.times => {
                let text = request.into_inner().name;
                Ok(tonic::Response::new(HelloReply { text }))
            }
            _ if self.trouble == "fail" => Err(tonic::Status::unavailable("not yet")),
            _ => std::future::pending().await,
        }
    }
}

async fn greeter_channel(trouble: &'static str, times: u32) -> (Channel, Arc<AtomicU32>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let attempts = Arc::new(AtomicU32::new(0));
    let greeter = TroubledGreeter {
        attempts: attempts.clone(),
        trouble,
        times,
    };
    let server = GrpcServer::builder().add_service(GreeterServer::new(greeter));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let endpoint = Endpoint::from_shared(format!("http://{at}")).unwrap();
    (endpoint.connect_lazy(), attempts)
}

/// Calls the greeter through a service, and checks its reply and the number of attempts.
macro_rules! greets {
    ($layers:expr, $trouble:literal, $times:literal) => {{
        let (channel, attempts) = greeter_channel($trouble, $times).await;
        let mut greeter = GreeterClient::new($layers.service(channel));
        let name = "Ann".to_owned();
        let reply = greeter.hello(HelloRequest { name }).await.unwrap();
        assert_eq!(reply.into_inner().text, "Ann");
        assert_eq!(attempts.load(Ordering::Relaxed), $times + 1);
    }};
}

#[tokio::test]
async fn messages_are_sent_again_over_a_channel_of_tonic() {
    let retry = || retry().grpc_client().idempotent();
    let hedge = || hedge().grpc_client().idempotent();
    greets!(ServiceBuilder::new().layer(retry()), "fail", 2);
    greets!(ServiceBuilder::new().layer(hedge()), "slow", 1);
    greets!(
        ServiceBuilder::new().layer(retry()).layer(hedge()),
        "fail",
        2
    );
    greets!(
        ServiceBuilder::new().layer(retry()).layer(hedge()),
        "slow",
        1
    );
    greets!(
        ServiceBuilder::new().layer(hedge()).layer(retry()),
        "fail",
        2
    );
    greets!(
        ServiceBuilder::new().layer(hedge()).layer(retry()),
        "slow",
        1
    );
}

/// RT-05: a channel keeps the cause of its errors two links down. A refused connection is tried again for any gRPC method.
#[tokio::test]
async fn a_call_over_a_channel_that_was_refused_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = Endpoint::from_shared(format!("http://{at}")).unwrap();
    let retry = retry();
    let handle = retry.handle();
    let channel = ServiceBuilder::new()
        .layer(retry.grpc_client())
        .service(endpoint.connect_lazy());
    let name = "Ann".to_owned();
    let call = GreeterClient::new(channel)
        .hello(HelloRequest { name })
        .await;
    call.unwrap_err();
    assert_eq!(handle.snapshot().retries, 2);
}
