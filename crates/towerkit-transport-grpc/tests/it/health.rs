//! The services of tonic-health and tonic-reflection beside endpoints, behind the same layers.

use std::pin::pin;

use futures_util::stream;
use tonic::transport::{Channel, Server as TonicServer};
use tonic_health::{
    ServingStatus,
    pb::{FILE_DESCRIPTOR_SET, HealthCheckRequest, HealthCheckResponse},
    server::{HealthReporter, health_reporter},
};
use tonic_reflection::{
    pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    server::Builder as ReflectionBuilder,
};
use towerkit_concurrency::ConcurrencyLimitLayer;
use towerkit_core::ErrorCode;
use towerkit_endpoint::{Endpoint, EndpointExt, IntoRpcError, RpcError, endpoint};
use towerkit_http::HttpExt;
use towerkit_transport_grpc::client;

use crate::math::{Math, Number, Pair, Server, adder, pair};

/// A server of all three services.
async fn server() -> (Server, HealthReporter) {
    let (reporter, health) = health_reporter();
    let reflection = ReflectionBuilder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1()
        .unwrap();
    let server = Server::start(|incoming| {
        let limit = ConcurrencyLimitLayer::new(10).unwrap();
        let mut server = TonicServer::builder().layer(limit.grpc());
        let server = server
            .add_service(Math(adder()))
            .add_service(health)
            .add_service(reflection);
        server.serve_with_incoming(incoming)
    })
    .await;
    (server, reporter)
}

/// Health checks as an endpoint, from the name of a service to its status.
fn check(channel: Channel) -> Endpoint<HealthCheckRequest, HealthCheckResponse, RpcError> {
    let path = "/grpc.health.v1.Health/Check";
    endpoint(client::<HealthCheckRequest, HealthCheckResponse, _, _, _>(channel, path).unwrap())
}

/// GR-02: of `Check`.
#[tokio::test]
async fn health_is_checked_through_an_endpoint() {
    let (server, reporter) = server().await;
    let channel = server.channel().await;
    let sum = client::<Pair, Number, Pair, i64, _>(channel.clone(), "/test.Math/Sum").unwrap();
    assert_eq!(sum.invoke(pair(1, 2)).await.unwrap(), 3);

    let check = check(channel);
    let named = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let unknown = check.invoke(named("test.Math")).await.unwrap_err();
    assert_eq!(unknown.code(), ErrorCode::NotFound);
    for status in [ServingStatus::Serving, ServingStatus::NotServing] {
        reporter.set_service_status("test.Math", status).await;
        let response = check.invoke(named("test.Math")).await.unwrap();
        let expected = tonic_health::pb::health_check_response::ServingStatus::from(status);
        assert_eq!(response.status(), expected);
    }
}

#[tokio::test]
async fn reflection_lists_the_services_of_the_server() {
    let (server, _) = server().await;
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(server.channel().await);
    let responses = client.server_reflection_info(stream::iter([list]));
    let responses = responses.await.unwrap().into_inner();
    let mut responses = pin!(responses);
    let response = responses.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = response.message_response else {
        panic!("no list: {response:?}");
    };
    let names: Vec<_> = list.service.iter().map(|each| &*each.name).collect();
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
}
