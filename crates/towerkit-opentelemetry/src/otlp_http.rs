use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use opentelemetry_http::{Bytes, HttpClient, hyper::HyperClient};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_sdk::error::OTelSdkError;
use prost::Message;

use crate::{
    PipelineError, SpanExporterHandle, SpanPipeline,
    endpoint::parse_endpoint,
    otlp::{ExportFailure, OtlpSpanExporter, SendSpans, headers_from_env, send_with_retries},
};

impl SpanPipeline {
    /// Starts to send spans over [OTLP/HTTP](https://opentelemetry.io/docs/specs/otlp/#otlphttp), as protobuf, for example to
    /// `http://127.0.0.1:4318`. The default path is `/v1/traces`.
    ///
    /// Request headers, such as a token, are read from the variable [`OTEL_EXPORTER_OTLP_HEADERS`].
    ///
    /// # Errors
    ///
    /// Returns a [`PipelineError`] if the endpoint is not of the form `http://host:port`, if a setting is invalid, or if the thread cannot
    /// start. An unreachable endpoint is not an error.
    ///
    /// [`OTEL_EXPORTER_OTLP_HEADERS`]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/#configuration-options
    pub fn otlp_http(self, endpoint: &str) -> Result<SpanExporterHandle, PipelineError> {
        self.start(|timeout, rejected| {
            let headers = headers_from_env("OTEL_EXPORTER_OTLP_TRACES_HEADERS");
            let sender = HttpSender::new(endpoint, "/v1/traces", timeout, headers)?;
            Ok(OtlpSpanExporter::new(sender, rejected))
        })
    }
}

/// A client for OTLP over HTTP.
#[derive(Debug)]
struct HttpSender {
    client: HyperClient,
    endpoint: Uri,
    headers: HeaderMap,
}

impl HttpSender {
    fn new(
        address: &str,
        path: &'static str,
        timeout: Duration,
        mut headers: HeaderMap,
    ) -> Result<Self, PipelineError> {
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        headers.insert(header::CONTENT_TYPE, protobuf);
        Ok(Self {
            client: HyperClient::with_default_connector(timeout, None),
            endpoint: parse_endpoint(address, path)?,
            headers,
        })
    }

    async fn post<T: Message + Default>(&self, message: impl Message) -> Result<T, OTelSdkError> {
        let body = Bytes::from(message.encode_to_vec());
        let response = send_with_retries(|| self.send(body.clone())).await?;
        // A response that cannot be decoded reports no rejected items.
        Ok(T::decode(response.into_body()).unwrap_or_default())
    }

    async fn send(&self, body: Bytes) -> Result<Response<Bytes>, ExportFailure> {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.headers.clone();
        let sent = self.client.send_bytes(request).await;
        let response = sent.map_err(|error| ExportFailure::transient(error, None))?;
        match response.status().as_u16() {
            200..300 => Ok(response),
            429 | 502 | 503 | 504 => Err(ExportFailure::transient(
                status_error(&response),
                retry_after(response.headers()),
            )),
            _ => Err(ExportFailure::permanent(status_error(&response))),
        }
    }
}

fn status_error(response: &Response<Bytes>) -> String {
    format!("the receiver answered {}", response.status())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

impl SendSpans for HttpSender {
    async fn send(
        &self,
        request: ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, OTelSdkError> {
        self.post(request).await
    }
}

#[cfg(feature = "metrics")]
mod metrics {
    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    };
    use opentelemetry_sdk::error::OTelSdkError;

    use super::HttpSender;
    use crate::{
        MetricExporterHandle, MetricPipeline, PipelineError,
        otlp::{
            headers_from_env,
            metrics::{OtlpMetricExporter, SendMetrics},
        },
    };

    impl MetricPipeline {
        /// Starts to send metrics over [OTLP/HTTP](https://opentelemetry.io/docs/specs/otlp/#otlphttp), as protobuf, for example to
        /// `http://127.0.0.1:4318`. The default path is `/v1/metrics`.
        ///
        /// # Errors
        ///
        /// Returns a [`PipelineError`] as [`SpanPipeline::otlp_http`](crate::SpanPipeline::otlp_http) does.
        pub fn otlp_http(self, address: &str) -> Result<MetricExporterHandle, PipelineError> {
            self.start(|timeout| {
                let headers = headers_from_env("OTEL_EXPORTER_OTLP_METRICS_HEADERS");
                let sender = HttpSender::new(address, "/v1/metrics", timeout, headers)?;
                Ok(OtlpMetricExporter(sender))
            })
        }
    }

    impl SendMetrics for HttpSender {
        async fn send(
            &self,
            request: ExportMetricsServiceRequest,
        ) -> Result<ExportMetricsServiceResponse, OTelSdkError> {
            self.post(request).await
        }
    }
}
