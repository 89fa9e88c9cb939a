use std::time::Duration;

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse, trace_service_client::TraceServiceClient,
};
use opentelemetry_sdk::error::OTelSdkError;
use tonic::{
    Code, Extensions, Request, Status,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;
use towerkit_core::ConfigError;

use crate::{
    PipelineError, SpanExporterHandle, SpanPipeline,
    endpoint::parse_endpoint,
    otlp::{ExportFailure, OtlpSpanExporter, SendSpans, headers_from_env, send_with_retries},
};

impl SpanPipeline {
    /// Starts to send spans over [OTLP/gRPC](https://opentelemetry.io/docs/specs/otlp/#otlpgrpc), for example to `http://127.0.0.1:4317`.
    ///
    /// Request headers, such as a token, are read from the variable [`OTEL_EXPORTER_OTLP_HEADERS`].
    ///
    /// # Errors
    ///
    /// Returns a [`PipelineError`] if the endpoint is not of the form `http://host:port`, if a setting is invalid, or if the thread cannot
    /// start. An unreachable endpoint is not an error.
    ///
    /// [`OTEL_EXPORTER_OTLP_HEADERS`]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/#configuration-options
    pub fn otlp_grpc(self, endpoint: &str) -> Result<SpanExporterHandle, PipelineError> {
        self.start(|timeout, rejected| {
            let sender = GrpcSender {
                client: TraceServiceClient::new(channel(endpoint, timeout)?),
                headers: headers_from_env("OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
            };
            Ok(OtlpSpanExporter::new(sender, rejected))
        })
    }
}

/// Creates a [`Channel`] that connects at the first request.
fn channel(address: &str, timeout: Duration) -> Result<Channel, ConfigError> {
    let invalid = |_| {
        ConfigError::new(
            "endpoint",
            address,
            "an address of the form http://host:port",
        )
    };
    let endpoint = parse_endpoint(address, "/")?.to_string();
    let endpoint = Endpoint::from_shared(endpoint).map_err(invalid)?;
    let agent = concat!("towerkit-opentelemetry/", env!("CARGO_PKG_VERSION"));
    let endpoint = endpoint.user_agent(agent).map_err(invalid)?;
    Ok(endpoint.timeout(timeout).connect_lazy())
}

/// A client for OTLP over gRPC, with the headers of each request.
#[derive(Debug)]
struct GrpcSender<C> {
    client: C,
    headers: HeaderMap,
}

impl<C> GrpcSender<C> {
    fn request<T>(&self, message: T) -> Request<T> {
        let metadata = MetadataMap::from_headers(self.headers.clone());
        Request::from_parts(metadata, Extensions::new(), message)
    }
}

impl SendSpans for GrpcSender<TraceServiceClient<Channel>> {
    async fn send(
        &self,
        request: ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, OTelSdkError> {
        let send = || async {
            let request = self.request(request.clone());
            let sent = self.client.clone().export(request).await;
            sent.map_err(|status| failure(&status))
        };
        send_with_retries(send)
            .await
            .map(tonic::Response::into_inner)
    }
}

/// Classifies a gRPC [`Status`] by the [table](https://opentelemetry.io/docs/specs/otlp/#failures) of the OTLP specification.
fn failure(status: &Status) -> ExportFailure {
    let retry_info = status.get_details_retry_info();
    let after = retry_info.and_then(|info| info.retry_delay);
    let is_transient = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => after.is_some(),
        _ => false,
    };
    match is_transient {
        true => ExportFailure::transient(status, after),
        false => ExportFailure::permanent(status),
    }
}

#[cfg(feature = "metrics")]
mod metrics {
    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_client::MetricsServiceClient,
    };
    use opentelemetry_sdk::error::OTelSdkError;
    use tonic::transport::Channel;

    use super::{GrpcSender, channel, failure};
    use crate::{
        MetricExporterHandle, MetricPipeline, PipelineError,
        otlp::{
            headers_from_env,
            metrics::{OtlpMetricExporter, SendMetrics},
            send_with_retries,
        },
    };

    impl MetricPipeline {
        /// Starts to send metrics over [OTLP/gRPC](https://opentelemetry.io/docs/specs/otlp/#otlpgrpc), for example to `http://127.0.0.1:4317`.
        ///
        /// # Errors
        ///
        /// Returns a [`PipelineError`] as [`SpanPipeline::otlp_grpc`](crate::SpanPipeline::otlp_grpc) does.
        pub fn otlp_grpc(self, address: &str) -> Result<MetricExporterHandle, PipelineError> {
            self.start(|timeout| {
                Ok(OtlpMetricExporter(GrpcSender {
                    client: MetricsServiceClient::new(channel(address, timeout)?),
                    headers: headers_from_env("OTEL_EXPORTER_OTLP_METRICS_HEADERS"),
                }))
            })
        }
    }

    impl SendMetrics for GrpcSender<MetricsServiceClient<Channel>> {
        async fn send(
            &self,
            request: ExportMetricsServiceRequest,
        ) -> Result<ExportMetricsServiceResponse, OTelSdkError> {
            let send = || async {
                let request = self.request(request.clone());
                let sent = self.client.clone().export(request).await;
                sent.map_err(|status| failure(&status))
            };
            send_with_retries(send)
                .await
                .map(tonic::Response::into_inner)
        }
    }
}
