//! Sends the spans and metrics of towerkit to OTLP collectors and Zipkin, without ever holding up a call.

mod batch;
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http", feature = "zipkin"))]
mod endpoint;
mod engine;
mod error;
#[cfg(feature = "otlp-grpc")]
mod otlp_grpc;
#[cfg(feature = "otlp-http")]
mod otlp_http;
mod pipeline;
mod report;
mod settings;
mod spans;
mod tally;
mod worker;
#[cfg(feature = "zipkin")]
mod zipkin;
#[cfg(feature = "zipkin")]
mod zipkin_json;

pub use opentelemetry;
pub use opentelemetry_sdk;

pub use error::{FlushError, PipelineError};
pub use pipeline::SpanPipeline;
pub use report::SpanReport;
pub use spans::Spans;
