//! The protocols that are compiled in.

use towerkit_opentelemetry::{PipelineError, SpanExporterHandle, SpanPipeline};

/// Begins to send to an endpoint.
pub(crate) type Start = fn(SpanPipeline, &str) -> Result<SpanExporterHandle, PipelineError>;

/// How to send spans by each protocol.
pub(crate) const STARTS: &[Start] = &[
    #[cfg(feature = "otlp-grpc")]
    SpanPipeline::otlp_grpc,
    #[cfg(feature = "otlp-http")]
    SpanPipeline::otlp_http,
    #[cfg(feature = "zipkin")]
    SpanPipeline::zipkin,
];

/// How to send spans by each protocol of HTTP.
pub(crate) const POSTS: &[Start] = &[
    #[cfg(feature = "otlp-http")]
    SpanPipeline::otlp_http,
    #[cfg(feature = "zipkin")]
    SpanPipeline::zipkin,
];
