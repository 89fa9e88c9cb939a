use std::time::Duration;

use opentelemetry_otlp::{SpanExporter, WithExportConfig};

use crate::{PipelineError, SpanPipeline, Spans, endpoint::endpoint};

impl SpanPipeline {
    /// Sends spans by OTLP over gRPC, for example to `http://127.0.0.1:4317`.
    ///
    /// Fields such as a token are read from the variable `OTEL_EXPORTER_OTLP_HEADERS`.
    ///
    /// # Errors
    ///
    /// A [`PipelineError`] if the endpoint is not of the form `http://host:port`, a setting makes no sense, or the thread that sends
    /// cannot start. That nobody listens at the endpoint is none.
    pub fn otlp_grpc(self, endpoint: &str) -> Result<Spans, PipelineError> {
        self.start(|timeout, _| exporter(endpoint, timeout))
    }
}

fn exporter(address: &str, timeout: Duration) -> Result<SpanExporter, PipelineError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint(address, "/")?.to_string())
        .with_timeout(timeout)
        .build();
    exporter.map_err(|error| PipelineError::of("the exporter of OTLP over gRPC", error))
}

#[cfg(feature = "metrics")]
impl crate::MetricPipeline {
    /// Sends metrics by OTLP over gRPC, for example to `http://127.0.0.1:4317`.
    ///
    /// # Errors
    ///
    /// As for [`SpanPipeline::otlp_grpc`].
    pub fn otlp_grpc(self, address: &str) -> Result<crate::Meters, PipelineError> {
        self.start(|timeout| {
            let exporter = opentelemetry_otlp::MetricExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint(address, "/")?.to_string())
                .with_timeout(timeout)
                .build();
            exporter.map_err(|error| PipelineError::of("the exporter of OTLP over gRPC", error))
        })
    }
}
