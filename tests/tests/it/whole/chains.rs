//! A7.1: a client, a front and a backend are one trace, whose spans are each other's parents exactly.

use axum::{Router, extract::State, routing::get};
use http::Request;
use http_body_util::{BodyExt, Empty};
use opentelemetry::trace::{SpanId, SpanKind};
use opentelemetry_sdk::trace::SpanData;
use serde_json::Value;
use tokio::net::TcpListener;
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint, server::TcpIncoming},
};
use tonic_app::{
    HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use tower::{Layer, ServiceExt};
use towerkit_core::stack;
use towerkit_http::{Grpc, Http, HttpExt};
use towerkit_log::{Format, LogLayer};
use towerkit_trace::{Trace, TraceLayer};

use crate::whole::{
    observed::Observed,
    server::{HttpClient, Server, client},
};

const CLIENT: SpanKind = SpanKind::Client;
const SERVER: SpanKind = SpanKind::Server;

type Caller = Trace<HttpClient, Http>;

fn caller() -> Caller {
    TraceLayer::client().http().layer(client())
}

/// Traces and logs calls.
fn observed(app: Router, name: &'static str) -> Router {
    app.layer(stack((TraceLayer::server(), LogLayer::new().name(name))).axum())
}

async fn call(caller: Caller, url: String) -> String {
    let request = Request::get(url).body(Empty::new()).unwrap();
    let response = caller.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Checks that each span is the parent of the next, in one trace, and that lines of the servers have their ids.
fn check(spans: &[SpanData], names: &[(&str, SpanKind)], lines: &[Value], servers: &[usize]) {
    let mut chain: Vec<&SpanData> = Vec::new();
    let mut parent = SpanId::INVALID;
    while let Some(span) = spans.iter().find(|span| span.parent_span_id == parent) {
        parent = span.span_context.span_id();
        chain.push(span);
    }
    assert_eq!(chain.len(), spans.len(), "{spans:#?}");
    let found: Vec<_> = chain
        .iter()
        .map(|span| (&*span.name, span.span_kind.clone()))
        .collect();
    assert_eq!(found, names);
    let trace = chain[0].span_context.trace_id();
    assert!(
        chain
            .iter()
            .all(|span| span.span_context.trace_id() == trace)
    );
    // The server's spans have their parent in another process, as far as they know.
    for span in &chain {
        assert_eq!(
            span.parent_span_is_remote,
            span.span_kind == SERVER,
            "{}",
            span.name
        );
    }
    // What is further in ends first.
    let logged: Vec<_> = lines
        .iter()
        .map(|line| (line["trace_id"].as_str(), line["span_id"].as_str()))
        .collect();
    let ids: Vec<_> = servers
        .iter()
        .rev()
        .map(|index| &chain[*index].span_context)
        .collect();
    let ids: Vec<_> = ids
        .iter()
        .map(|ids| (ids.trace_id().to_string(), ids.span_id().to_string()))
        .collect();
    let ids: Vec<_> = ids
        .iter()
        .map(|(trace, span)| (Some(&**trace), Some(&**span)))
        .collect();
    assert_eq!(logged, ids);
}

#[tokio::test]
async fn a_trace_goes_from_client_to_front_to_backend_over_http() {
    let observed_here = Observed::start(Format::Json);
    let backend = Router::new().route("/items/{id}", get(|| async { "an item" }));
    let backend = Server::start(observed(backend, "backend")).await;
    let url = backend.url("/items/7");
    let ask = |State(caller): State<Caller>| async move { call(caller, url).await };
    let front = Router::new().route("/shop", get(ask)).with_state(caller());
    let front = Server::start(observed(front, "front")).await;

    assert_eq!(call(caller(), front.url("/shop")).await, "an item");
    let spans = observed_here.spans_of(4).await;
    let names = [
        ("GET", CLIENT),
        ("GET /shop", SERVER),
        ("GET", CLIENT),
        ("GET /items/{id}", SERVER),
    ];
    let lines = observed_here.calls();
    check(&spans, &names, &lines, &[1, 3]);
    assert_eq!(
        (&lines[0]["msg"], &lines[1]["msg"]),
        (&"backend".into(), &"front".into())
    );
}

type GrpcCaller = GreeterClient<Trace<Channel, Grpc>>;

fn greeter(url: String) -> GrpcCaller {
    let channel = Endpoint::from_shared(url).unwrap().connect_lazy();
    GreeterClient::new(TraceLayer::client().grpc().layer(channel))
}

async fn greet(mut caller: GrpcCaller) -> Result<String, Status> {
    let name = "Ann".to_owned();
    let reply = caller.hello(HelloRequest { name }).await?;
    Ok(reply.into_inner().text)
}

/// Greets, or has somebody else greet.
struct Hello(Option<GrpcCaller>);

#[tonic::async_trait]
impl Greeter for Hello {
    async fn hello(
        &self,
        request: tonic::Request<HelloRequest>,
    ) -> Result<Response<HelloReply>, Status> {
        let text = match self.0.clone() {
            Some(further) => greet(further).await?,
            None => format!("hello, {}", request.into_inner().name),
        };
        Ok(Response::new(HelloReply { text }))
    }
}

/// Serves it, and returns its URL.
async fn serve(hello: Hello, name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let layer = stack((TraceLayer::server(), LogLayer::new().name(name))).grpc();
    let server = tonic::transport::Server::builder()
        .layer(layer)
        .add_service(GreeterServer::new(hello));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    url
}

#[tokio::test]
async fn a_trace_goes_from_client_to_front_to_backend_over_grpc() {
    let observed = Observed::start(Format::Json);
    let backend = serve(Hello(None), "backend").await;
    let front = serve(Hello(Some(greeter(backend))), "front").await;
    assert_eq!(greet(greeter(front)).await.unwrap(), "hello, Ann");
    let spans = observed.spans_of(4).await;
    let name = "greeter.Greeter/Hello";
    let names = [
        (name, CLIENT),
        (name, SERVER),
        (name, CLIENT),
        (name, SERVER),
    ];
    let lines = observed.calls();
    check(&spans, &names, &lines, &[1, 3]);
    assert_eq!(
        (&lines[0]["msg"], &lines[1]["msg"]),
        (&"backend".into(), &"front".into())
    );
    assert!(lines.iter().all(|line| line["code"] == 0), "{lines:?}");
}

#[tokio::test]
async fn a_trace_goes_from_http_on_to_grpc() {
    let observed_here = Observed::start(Format::Json);
    let backend = serve(Hello(None), "backend").await;
    let ask = |State(caller): State<GrpcCaller>| async move { greet(caller).await.unwrap() };
    let front = Router::new()
        .route("/hello", get(ask))
        .with_state(greeter(backend));
    let front = Server::start(observed(front, "front")).await;
    assert_eq!(call(caller(), front.url("/hello")).await, "hello, Ann");
    let spans = observed_here.spans_of(4).await;
    let name = "greeter.Greeter/Hello";
    let names = [
        ("GET", CLIENT),
        ("GET /hello", SERVER),
        (name, CLIENT),
        (name, SERVER),
    ];
    check(&spans, &names, &observed_here.calls(), &[1, 3]);
}
