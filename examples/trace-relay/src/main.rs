//! Serves the relay, and sends its spans to whom the options say.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use tokio::net::TcpListener;
use towerkit_core::BoxError;
use towerkit_opentelemetry::{PipelineError, SpanExporterHandle, SpanPipeline};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:5000")]
    addr: SocketAddr,
    /// Sends spans by OTLP over gRPC, such as to http://127.0.0.1:4317
    #[arg(long)]
    otlp_grpc: Option<String>,
    /// Sends spans by OTLP over HTTP, such as to http://127.0.0.1:4318
    #[arg(long, conflicts_with = "otlp_grpc")]
    otlp_http: Option<String>,
    /// Sends spans to Zipkin, such as at http://127.0.0.1:9411
    #[arg(long, conflicts_with_all = ["otlp_grpc", "otlp_http"])]
    zipkin: Option<String>,
}

impl Options {
    fn spans(&self) -> Result<Option<SpanExporterHandle>, PipelineError> {
        let pipeline = SpanPipeline::new("trace-relay");
        match (&self.otlp_grpc, &self.otlp_http, &self.zipkin) {
            (Some(endpoint), ..) => pipeline.otlp_grpc(endpoint).map(Some),
            (_, Some(endpoint), _) => pipeline.otlp_http(endpoint).map(Some),
            (.., Some(endpoint)) => pipeline.zipkin(endpoint).map(Some),
            _ => Ok(None),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let options = Options::parse();
    let spans = options.spans()?;
    if let Some(spans) = &spans {
        let subscriber = tracing_subscriber::registry().with(spans.layer());
        subscriber.try_init()?;
    }
    let listener = TcpListener::bind(options.addr).await?;
    axum::serve(listener, trace_relay::app())
        .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .await?;
    if let Some(spans) = spans {
        let shutdown = spans.shutdown(Duration::from_secs(5));
        println!("{:?}", spans.snapshot());
        shutdown?;
    }
    Ok(())
}
