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
    endpoint::endpoint,
    otlp::{Failure, OtlpSpans, SendSpans, headers, retried},
};

impl SpanPipeline {
    /// Sends spans by OTLP over HTTP, as protobuf, for example to `http://127.0.0.1:4318`. The path is `/v1/traces` if there is none.
    ///
    /// Fields such as a token are read from the variable `OTEL_EXPORTER_OTLP_HEADERS`.
    ///
    /// # Errors
    ///
    /// A [`PipelineError`] if the endpoint is not of the form `http://host:port`, a setting makes no sense, or the thread that sends
    /// cannot start. An unreachable endpoint is not an error.
    pub fn otlp_http(self, endpoint: &str) -> Result<SpanExporterHandle, PipelineError> {
        self.start(|timeout, rejected| {
            let headers = headers("OTEL_EXPORTER_OTLP_TRACES_HEADERS");
            let sender = HttpSender::new(endpoint, "/v1/traces", timeout, headers)?;
            Ok(OtlpSpans::new(sender, rejected))
        })
    }
}

/// Posts requests.
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
            endpoint: endpoint(address, path)?,
            headers,
        })
    }

    async fn post<T: Message + Default>(&self, message: impl Message) -> Result<T, OTelSdkError> {
        let body = Bytes::from(message.encode_to_vec());
        let response = retried(|| self.send(body.clone())).await?;
        // An answer that cannot be read says nothing of rejections.
        Ok(T::decode(response.into_body()).unwrap_or_default())
    }

    async fn send(&self, body: Bytes) -> Result<Response<Bytes>, Failure> {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.headers.clone();
        let sent = self.client.send_bytes(request).await;
        let response = sent.map_err(|error| Failure::passing(error, None))?;
        match response.status().as_u16() {
            200..300 => Ok(response),
            429 | 502 | 503 | 504 => Err(Failure::passing(
                told(&response),
                retry_after(response.headers()),
            )),
            _ => Err(Failure::lasting(told(&response))),
        }
    }
}

fn told(response: &Response<Bytes>) -> String {
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
            headers,
            metrics::{OtlpMetrics, SendMetrics},
        },
    };

    impl MetricPipeline {
        /// Sends metrics by OTLP over HTTP, as protobuf, for example to `http://127.0.0.1:4318`. The path is `/v1/metrics` if there is
        /// none.
        ///
        /// # Errors
        ///
        /// As for [`SpanPipeline::otlp_http`](crate::SpanPipeline::otlp_http).
        pub fn otlp_http(self, address: &str) -> Result<MetricExporterHandle, PipelineError> {
            self.start(|timeout| {
                let headers = headers("OTEL_EXPORTER_OTLP_METRICS_HEADERS");
                let sender = HttpSender::new(address, "/v1/metrics", timeout, headers)?;
                Ok(OtlpMetrics(sender))
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
