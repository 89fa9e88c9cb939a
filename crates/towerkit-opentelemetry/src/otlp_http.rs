use std::time::Duration;

use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};

use crate::{PipelineError, SpanPipeline, Spans, endpoint::endpoint};

impl SpanPipeline {
    /// Sends spans by OTLP over HTTP, as protobuf, for example to `http://127.0.0.1:4318`. The path is `/v1/traces` if there is none.
    ///
    /// Fields such as a token are read from the variable `OTEL_EXPORTER_OTLP_HEADERS`.
    ///
    /// # Errors
    ///
    /// A [`PipelineError`] if the endpoint is not of the form `http://host:port`, a setting makes no sense, or the thread that sends
    /// cannot start. That nobody listens at the endpoint is none.
    pub fn otlp_http(self, endpoint: &str) -> Result<Spans, PipelineError> {
        self.start(|timeout, _| exporter(endpoint, timeout))
    }
}

fn exporter(address: &str, timeout: Duration) -> Result<SpanExporter, PipelineError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(HyperClient::with_default_connector(timeout, None))
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_endpoint(endpoint(address, "/v1/traces")?.to_string())
        .with_timeout(timeout)
        .build();
    exporter.map_err(|error| PipelineError::of("the exporter of OTLP over HTTP", error))
}

#[cfg(feature = "metrics")]
impl crate::MetricPipeline {
    /// Sends metrics by OTLP over HTTP, as protobuf, for example to `http://127.0.0.1:4318`. The path is `/v1/metrics` if there is none.
    ///
    /// # Errors
    ///
    /// As for [`SpanPipeline::otlp_http`].
    pub fn otlp_http(self, address: &str) -> Result<crate::Meters, PipelineError> {
        self.start(|timeout| {
            let exporter = opentelemetry_otlp::MetricExporter::builder()
                .with_http()
                .with_http_client(HyperClient::with_default_connector(timeout, None))
                .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                .with_endpoint(endpoint(address, "/v1/metrics")?.to_string())
                .with_timeout(timeout)
                .build();
            exporter.map_err(|error| PipelineError::of("the exporter of OTLP over HTTP", error))
        })
    }
}
