//! Continues the caller's trace, and sends a span for each request to an OpenTelemetry collector.
//!
//! ```toml
//! axum = "0.8"
//! tokio = { version = "1", features = ["macros", "net", "rt-multi-thread", "signal"] }
//! towerkit = { git = "URL of this repository", features = ["axum", "opentelemetry-otlp-grpc"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! OTLP=http://127.0.0.1:4317 cargo run -p recipes --bin opentelemetry   # stop it with Ctrl-C
//! curl -H 'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' http://127.0.0.1:3000/
//! ```
//!
//! The response is the id of the trace. Without a collector the requests are served all the same.

use std::{env, time::Duration};

use axum::{Router, routing::get};
use tokio::{net::TcpListener, signal};
use towerkit::{
    core::BoxError,
    http::HttpExt,
    opentelemetry::SpanPipeline,
    trace::{TraceContext, TraceLayer},
};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

async fn trace_id() -> String {
    let context = TraceContext::current().map(|context| context.parent().trace);
    context.map_or(String::new(), |trace| format!("{trace}\n"))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let collector = env::var("OTLP").unwrap_or("http://127.0.0.1:4317".to_owned());
    let spans = SpanPipeline::new("recipe").otlp_grpc(&collector)?;
    tracing_subscriber::registry().with(spans.layer()).init();

    let app = Router::new()
        .route("/", get(trace_id))
        .layer(TraceLayer::server().axum());
    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _ = signal::ctrl_c().await;
        })
        .await?;
    // Sends the last spans.
    spans.shutdown(Duration::from_secs(2))?;
    Ok(())
}
