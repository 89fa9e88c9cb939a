//! Counts and times the requests of a router, for Prometheus.
//!
//! ```toml
//! axum = "0.8"
//! tokio = { version = "1", features = ["macros", "net", "rt-multi-thread"] }
//! towerkit = { git = "URL of this repository", features = ["axum", "metrics"] }
//! ```
//!
//! ```sh
//! cargo run -p recipes --bin prometheus
//! curl http://127.0.0.1:3000/hello/Ann
//! curl http://127.0.0.1:3000/metrics   # http_server_request_duration_seconds and others
//! ```

use std::env;

use axum::{Router, extract::Path, routing::get};
use tokio::net::TcpListener;
use towerkit::{
    core::BoxError,
    http::HttpExt,
    metrics::{MetricsLayer, Registry},
};

async fn hello(Path(name): Path<String>) -> String {
    format!("hello, {name}\n")
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let registry = Registry::new();
    let app = Router::new()
        .route("/hello/{name}", get(hello))
        .layer(MetricsLayer::new().registry(registry.clone()).axum())
        .route_service("/metrics", registry.service());
    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
