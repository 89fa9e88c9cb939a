//! A tonic server, before and after one layer of towerkit.
//!
//! `cargo run -p tonic-app` serves `proto/greeter.proto`, and `cargo run -p tonic-app -- --before` does so as it was.

use std::env;

use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{
        Error,
        server::{Server, TcpIncoming},
    },
};
use tonic_app::{
    HelloReply, HelloRequest,
    greeter_server::{Greeter, GreeterServer},
};
use towerkit_core::BoxError;
use towerkit_http::HttpExt;
use towerkit_ratelimit::{Quota, RateLimitLayer};

/// Serves the application as it was.
async fn serve(incoming: TcpIncoming) -> Result<(), Error> {
    Server::builder()
        .add_service(GreeterServer::new(Hello))
        .serve_with_incoming(incoming)
        .await
}

/// Serves the application with a rate limit: `RESOURCE_EXHAUSTED` for whoever comes too soon.
async fn serve_protected(incoming: TcpIncoming, quota: Quota) -> Result<(), Error> {
    Server::builder()
        .layer(RateLimitLayer::new(quota).grpc())
        .add_service(GreeterServer::new(Hello))
        .serve_with_incoming(incoming)
        .await
}

struct Hello;

#[tonic::async_trait]
impl Greeter for Hello {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let text = format!("hello, {}", request.into_inner().name);
        Ok(Response::new(HelloReply { text }))
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let quota = Quota::per_second(1)?.burst(5)?;
    let listener = TcpListener::bind("127.0.0.1:3002").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let incoming = TcpIncoming::from(listener);
    match env::args().nth(1).as_deref() {
        Some("--before") => serve(incoming).await?,
        _ => serve_protected(incoming, quota).await?,
    }
    Ok(())
}

#[cfg(test)]
mod tests;
