use std::time::Duration;

use http::{Request, Uri, header};
use opentelemetry_http::{Bytes, HttpClient, HttpError, hyper::HyperClient};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};

use crate::{
    PipelineError, SpanExporterHandle, SpanPipeline, endpoint::parse_endpoint, zipkin_json,
};

impl SpanPipeline {
    /// Starts to send spans to [Zipkin](https://zipkin.io/zipkin-api/) as JSON of its API version 2, for example to
    /// `http://127.0.0.1:9411`. The default path is `/api/v2/spans`. Failed exports are not retried.
    ///
    /// # Errors
    ///
    /// Returns a [`PipelineError`] if the endpoint is not of the form `http://host:port`, if a setting is invalid, or if the thread cannot
    /// start. An unreachable endpoint is not an error.
    pub fn zipkin(self, endpoint: &str) -> Result<SpanExporterHandle, PipelineError> {
        self.start(|timeout, _| ZipkinExporter::new(endpoint, timeout))
    }
}

/// A [`SpanExporter`] for the API of Zipkin.
#[derive(Debug)]
struct ZipkinExporter {
    client: HyperClient,
    endpoint: Uri,
    service: String,
}

impl ZipkinExporter {
    fn new(address: &str, timeout: Duration) -> Result<Self, PipelineError> {
        Ok(Self {
            client: HyperClient::with_default_connector(timeout, None),
            endpoint: parse_endpoint(address, "/api/v2/spans")?,
            service: String::new(),
        })
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), HttpError> {
        let request = Request::post(self.endpoint.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body))?;
        let status = self.client.send_bytes(request).await?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("Zipkin answered {status}").into())
        }
    }
}

impl SpanExporter for ZipkinExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let failed = |error: HttpError| OTelSdkError::InternalFailure(error.to_string());
        let body =
            zipkin_json::encode(&batch, &self.service).map_err(|error| failed(error.into()))?;
        self.post(body).await.map_err(failed)
    }

    fn set_resource(&mut self, resource: &Resource) {
        let service = resource.get(&opentelemetry::Key::from_static_str("service.name"));
        self.service = service.map(|name| name.to_string()).unwrap_or_default();
    }
}
