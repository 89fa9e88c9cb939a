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

use crate::{
    PipelineError, SpanExporterHandle, SpanPipeline,
    endpoint::endpoint,
    otlp::{Failure, OtlpSpans, SendSpans, headers, retried},
};

impl SpanPipeline {
    /// Sends spans by OTLP over gRPC, for example to `http://127.0.0.1:4317`.
    ///
    /// Fields such as a token are read from the variable `OTEL_EXPORTER_OTLP_HEADERS`.
    ///
    /// # Errors
    ///
    /// A [`PipelineError`] if the endpoint is not of the form `http://host:port`, a setting makes no sense, or the thread that sends
    /// cannot start. An unreachable endpoint is not an error.
    pub fn otlp_grpc(self, endpoint: &str) -> Result<SpanExporterHandle, PipelineError> {
        self.start(|timeout, rejected| {
            let sender = GrpcSender {
                client: TraceServiceClient::new(channel(endpoint, timeout)?),
                headers: headers("OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
            };
            Ok(OtlpSpans::new(sender, rejected))
        })
    }
}

/// Makes a channel that connects with the first request.
fn channel(address: &str, timeout: Duration) -> Result<Channel, PipelineError> {
    let invalid = |error| PipelineError::of(format!("the endpoint {address:?}"), error);
    let endpoint = Endpoint::from_shared(endpoint(address, "/")?.to_string()).map_err(invalid)?;
    let agent = concat!("towerkit-opentelemetry/", env!("CARGO_PKG_VERSION"));
    let endpoint = endpoint.user_agent(agent).map_err(invalid)?;
    Ok(endpoint.timeout(timeout).connect_lazy())
}

/// Sends requests with a client of tonic's.
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
        retried(send).await.map(tonic::Response::into_inner)
    }
}

/// Which codes may be tried again is a table of the OTLP specification.
fn failure(status: &Status) -> Failure {
    let retry_info = status.get_details_retry_info();
    let after = retry_info.and_then(|info| info.retry_delay);
    let may_pass = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => after.is_some(),
        _ => false,
    };
    match may_pass {
        true => Failure::passing(status, after),
        false => Failure::lasting(status),
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
            headers,
            metrics::{OtlpMetrics, SendMetrics},
            retried,
        },
    };

    impl MetricPipeline {
        /// Sends metrics by OTLP over gRPC, for example to `http://127.0.0.1:4317`.
        ///
        /// # Errors
        ///
        /// As for [`SpanPipeline::otlp_grpc`](crate::SpanPipeline::otlp_grpc).
        pub fn otlp_grpc(self, address: &str) -> Result<MetricExporterHandle, PipelineError> {
            self.start(|timeout| {
                Ok(OtlpMetrics(GrpcSender {
                    client: MetricsServiceClient::new(channel(address, timeout)?),
                    headers: headers("OTEL_EXPORTER_OTLP_METRICS_HEADERS"),
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
            retried(send).await.map(tonic::Response::into_inner)
        }
    }
}
