//! Streams of all kinds behind layers with `.grpc()`.

use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::sync::mpsc;
use tonic::{
    client::Grpc,
    transport::{Channel, Server as TonicServer},
};
use tonic_prost::ProstCodec;
use towerkit_concurrency::{ConcurrencyLimitHandle, ConcurrencyLimitLayer};
use towerkit_http::HttpExt;

use crate::math::{Math, Number, Pair, Server, adder, eventually, pair};

/// A server with a limit of calls in flight, and its client.
async fn limited() -> (Server, Grpc<Channel>, ConcurrencyLimitHandle) {
    let limit = ConcurrencyLimitLayer::new(10).unwrap();
    let handle = limit.handle();
    let server = Server::start(|incoming| {
        let mut server = TonicServer::builder().layer(limit.grpc());
        let server = server.add_service(Math(adder()));
        server.serve_with_incoming(incoming)
    })
    .await;
    let mut grpc = Grpc::new(server.channel().await);
    grpc.ready().await.unwrap();
    (server, grpc, handle)
}

fn codec() -> ProstCodec<Pair, Number> {
    ProstCodec::default()
}

fn path(path: &'static str) -> http::uri::PathAndQuery {
    http::uri::PathAndQuery::from_static(path)
}

/// A stream of requests to which the test adds.
fn requests() -> (
    mpsc::UnboundedSender<Pair>,
    impl Stream<Item = Pair> + Send + 'static,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let requests = stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    });
    (sender, requests)
}

/// More than the windows of HTTP/2 hold, so that the stream cannot end before it is read.
const MANY: i64 = 500_000;

/// GR-07
#[tokio::test]
async fn a_unary_call_holds_its_permit_until_its_response() {
    let (_server, mut grpc, handle) = limited().await;
    let sum = grpc.unary(
        tonic::Request::new(pair(1, 2)),
        path("/test.Math/Sum"),
        codec(),
    );
    assert_eq!(sum.await.unwrap().into_inner().value, 3);
    let in_flight = || handle.snapshot().in_flight;
    eventually("no permit is held", || in_flight() == 0).await;
}

/// GR-07
#[tokio::test]
async fn a_stream_of_responses_holds_its_permit_to_its_end() {
    let (_server, mut grpc, handle) = limited().await;
    let in_flight = || handle.snapshot().in_flight;
    let request = tonic::Request::new(pair(MANY, 0));
    let numbers = grpc.server_streaming(request, path("/test.Math/Count"), codec());
    let mut numbers = numbers.await.unwrap().into_inner();
    assert_eq!(numbers.message().await.unwrap().unwrap().value, 1);
    assert_eq!(in_flight(), 1);
    let mut last = 0;
    while let Some(number) = numbers.message().await.unwrap() {
        last = number.value;
    }
    assert_eq!(last, MANY);
    eventually("no permit is held", || in_flight() == 0).await;
}

/// GR-07
#[tokio::test]
async fn a_stream_of_responses_that_the_client_drops_releases_its_permit() {
    let (_server, mut grpc, handle) = limited().await;
    let in_flight = || handle.snapshot().in_flight;
    let request = tonic::Request::new(pair(MANY, 0));
    let numbers = grpc.server_streaming(request, path("/test.Math/Count"), codec());
    let mut numbers = numbers.await.unwrap().into_inner();
    assert_eq!(numbers.message().await.unwrap().unwrap().value, 1);
    assert_eq!(in_flight(), 1);
    drop(numbers);
    eventually("no permit is held", || in_flight() == 0).await;
}

/// GR-07
#[tokio::test]
async fn a_stream_of_requests_holds_its_permit_to_its_end() {
    let (_server, mut grpc, handle) = limited().await;
    let in_flight = || handle.snapshot().in_flight;
    let (sender, requests) = requests();
    sender.send(pair(1, 2)).unwrap();
    let call = tokio::spawn(async move {
        let request = tonic::Request::new(requests);
        grpc.client_streaming(request, path("/test.Math/Add"), codec())
            .await
    });
    eventually("a permit is held", || in_flight() == 1).await;
    sender.send(pair(3, 4)).unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(in_flight(), 1);
    drop(sender);
    assert_eq!(call.await.unwrap().unwrap().into_inner().value, 10);
    eventually("no permit is held", || in_flight() == 0).await;
}

/// GR-07
#[tokio::test]
async fn a_stream_in_both_directions_holds_its_permit_to_its_end() {
    let (_server, mut grpc, handle) = limited().await;
    let in_flight = || handle.snapshot().in_flight;
    let (sender, requests) = requests();
    let request = tonic::Request::new(requests);
    let numbers = grpc.streaming(request, path("/test.Math/Echo"), codec());
    let mut numbers = numbers.await.unwrap().into_inner();
    for n in 1..=3 {
        sender.send(pair(n, 0)).unwrap();
        assert_eq!(numbers.message().await.unwrap().unwrap().value, n);
        assert_eq!(in_flight(), 1);
    }
    drop(sender);
    assert!(numbers.message().await.unwrap().is_none());
    eventually("no permit is held", || in_flight() == 0).await;
}
