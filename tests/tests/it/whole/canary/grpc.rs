//! The same over gRPC, where credentials are metadata.

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::{
    Code, Request, Response, Status,
    metadata::MetadataMap,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_app::{
    HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use towerkit_core::stack;
use towerkit_http::HttpExt;
use towerkit_log::{Format, LogLayer};
use towerkit_metrics::{MetricsLayer, Registry};
use towerkit_ratelimit::{ByHeader, KeyedRateLimitLayer, Quota};
use towerkit_trace::TraceLayer;

use super::secrets::{CANARY, Outputs, fields};
use crate::whole::observed::Observed;

struct Hello;

#[tonic::async_trait]
impl Greeter for Hello {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let mut metadata = request.metadata().clone();
        assert!(metadata.get("baggage").is_some());
        metadata.remove("baggage");
        tracing::info!(?metadata, "asked");
        Ok(Response::new(HelloReply::default()))
    }
}

/// Serves one call for each authorization, and returns the URL.
async fn serve(registry: &Registry) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let observers = (
        TraceLayer::server()
            .baggage()
            .record_headers(&["x-note"])
            .unwrap(),
        LogLayer::new(),
        MetricsLayer::new().registry(registry.clone()),
        KeyedRateLimitLayer::new(
            Quota::new(1, Duration::from_secs(3600)).unwrap(),
            ByHeader::new("authorization"),
        ),
    );
    let mut server = Server::builder().layer(stack(observers).grpc());
    let server = server.add_service(GreeterServer::new(Hello));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    url
}

#[tokio::test]
async fn a_secret_is_in_no_output_over_grpc() {
    let (mut outputs, registry) = (Outputs::default(), Registry::new());
    let observed = Observed::start(Format::Json);
    let channel = Endpoint::from_shared(serve(&registry).await)
        .unwrap()
        .connect_lazy();
    let mut client = GreeterClient::new(channel);
    for nth in 0..4 {
        let name = format!("Bearer {CANARY}");
        let mut request = Request::new(HelloRequest { name });
        *request.metadata_mut() = MetadataMap::from_headers(fields(nth));
        match client.hello(request).await {
            Ok(_) => assert!(nth < 3),
            Err(rejected) => {
                assert_eq!((nth, rejected.code()), (3, Code::ResourceExhausted));
                outputs.error("the rejection", &rejected);
            }
        }
    }
    let spans = format!("{:?}", observed.spans_of(4).await);
    assert!(spans.contains("rpc.request.header.x-note"), "{spans}");
    outputs.add("spans", spans);
    outputs.add("log", observed.text());
    outputs.add(
        "metrics",
        registry.render() + &registry.render_open_metrics(),
    );
    outputs.check();
}
