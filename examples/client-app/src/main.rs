//! A hyper-util client and a tonic channel, before and after one layer of towerkit each.
//!
//! `cargo run -p client-app` calls `axum-app` and `tonic-app`, five times each, whether they run or not.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tonic::transport::{Channel, Endpoint, Error};
use tonic_app::{HelloRequest, greeter_client::GreeterClient};
use tower::{Layer, ServiceExt};
use towerkit_circuitbreaker::{CircuitBreaker, CircuitBreakerLayer, OpenWhen};
use towerkit_core::{BoxError, ConfigError};
use towerkit_http::{Grpc, Http, HttpExt};
use towerkit_timeout::{Timeout, TimeoutLayer};

type HyperClient = Client<HttpConnector, Empty<Bytes>>;

/// The HTTP client as it was.
fn client() -> HyperClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// The HTTP client with a timeout: 504 if the head of the response is not there in time.
fn protected_client(timeout: Duration) -> Result<Timeout<HyperClient, Http>, ConfigError> {
    Ok(TimeoutLayer::new(timeout)?.http().layer(client()))
}

/// The gRPC channel as it was.
fn channel(url: String) -> Result<Channel, Error> {
    Ok(Endpoint::from_shared(url)?.connect_lazy())
}

/// The gRPC channel with a circuit breaker: `UNAVAILABLE` at once, while the server is known to be in trouble.
fn protected_channel(
    url: String,
    open_when: OpenWhen,
) -> Result<CircuitBreaker<Channel, Grpc>, Error> {
    let breaker = CircuitBreakerLayer::new().open_when(open_when).grpc();
    Ok(breaker.layer(channel(url)?))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let client = protected_client(Duration::from_secs(2))?;
    for _ in 0..5 {
        let request = Request::get("http://127.0.0.1:3000/hello/Ann").body(Empty::new())?;
        match client.clone().oneshot(request).await {
            Ok(response) => println!("http: {}", response.status()),
            Err(error) => println!("http: {error}"),
        }
    }
    let url = "http://127.0.0.1:3002".to_owned();
    let channel = protected_channel(url, OpenWhen::consecutive_failures(3)?)?;
    let mut greeter = GreeterClient::new(channel);
    for _ in 0..5 {
        let name = "Ann".to_owned();
        match greeter.hello(HelloRequest { name }).await {
            Ok(reply) => println!("grpc: {}", reply.into_inner().text),
            Err(status) => println!("grpc: {:?}, {}", status.code(), status.message()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
