//! Serves HTTP by axum and gRPC by tonic on one port, behind one rate limit that rejects each in its own protocol.
//!
//! ```toml
//! axum = { version = "0.8", features = ["http2"] }
//! tokio = { version = "1", features = ["macros", "net", "rt-multi-thread"] }
//! tonic = { version = "0.14", features = ["router"] }
//! towerkit = { git = "URL of this repository", features = ["axum", "ratelimit"] }
//! ```
//!
//! ```sh
//! cargo run -p recipes --bin axum-and-tonic-on-one-port
//! curl -i http://127.0.0.1:3000/   # the fourth request in a minute gets 429
//! grpcurl -plaintext -import-path examples/tonic-app/proto -proto greeter.proto \
//!     -d '{"name": "Ann"}' 127.0.0.1:3000 greeter.Greeter/Hello   # or RESOURCE_EXHAUSTED
//! ```

use std::{env, time::Duration};

use axum::routing::get;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, service::Routes};
use tonic_app::{
    HelloReply, HelloRequest,
    greeter_server::{Greeter, GreeterServer},
};
use towerkit::{
    core::BoxError,
    http::HttpExt,
    ratelimit::{Quota, RateLimitLayer},
};

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
    let quota = Quota::new(1, Duration::from_secs(60))?.burst(3)?;
    let app = Routes::new(GreeterServer::new(Hello))
        .into_axum_router()
        .route("/", get(async || "hello\n"))
        .layer(RateLimitLayer::new(quota).axum());
    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
