use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::SpanExporter;

use crate::{
    PipelineError, SpanExporterHandle,
    config::{self, ExportConfig},
    processor::BatchProcessor,
    runtime::{ExportRuntime, suppressed},
    span_counts::{RejectedSpans, SpanCounts},
};

/// The options of an exporter of spans. `otlp_grpc`, `otlp_http`, `zipkin` or [`exporter`](Self::exporter) starts it.
///
/// ```
/// use std::{num::NonZeroUsize, time::Duration};
/// use towerkit_opentelemetry::SpanPipeline;
///
/// # #[cfg(feature = "otlp-grpc")] {
/// let spans = SpanPipeline::new("shop")
///     .queue(NonZeroUsize::new(10_000).unwrap())
///     .delay(Duration::from_secs(1))
///     .otlp_grpc("http://127.0.0.1:4317")?;
/// # let _ = spans;
/// # }
/// # Ok::<_, towerkit_opentelemetry::PipelineError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SpanPipeline {
    service: String,
    attributes: Vec<KeyValue>,
    config: ExportConfig,
}

impl SpanPipeline {
    /// Creates the options for a service; its name becomes the resource attribute `service.name`.
    ///
    /// Further attributes of the process are read from the variable [`OTEL_RESOURCE_ATTRIBUTES`].
    ///
    /// [`OTEL_RESOURCE_ATTRIBUTES`]: https://opentelemetry.io/docs/specs/otel/resource/sdk/
    #[must_use]
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            attributes: Vec::new(),
            config: ExportConfig::default(),
        }
    }

    /// Adds an attribute of the process, such as `deployment.environment.name`, to the resource of all spans.
    #[must_use]
    pub fn attribute(mut self, attribute: KeyValue) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// Limits the spans in memory, including those being sent; the default is 2048. Further spans are dropped.
    #[must_use]
    pub fn queue(mut self, max: NonZeroUsize) -> Self {
        self.config.queue = max;
        self
    }

    /// Limits the spans per export; the default is 512, and at most the size of the [`queue`](Self::queue). A full batch is sent at once.
    #[must_use]
    pub fn batch(mut self, max: NonZeroUsize) -> Self {
        self.config.batch = max;
        self
    }

    /// Sends the spans in the queue at this interval, from 1 ms to 24 h; the default is 5 s.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.config.delay = delay;
        self
    }

    /// Limits the time of an export including its retries, from 1 ms to 24 h; the default is 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// Starts to send spans with any [`SpanExporter`]. It runs on a thread with a tokio runtime, with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// Returns a [`PipelineError`] if a setting is invalid, or if the thread cannot start.
    pub fn exporter(
        self,
        exporter: impl SpanExporter + 'static,
    ) -> Result<SpanExporterHandle, PipelineError> {
        self.start(|_, _| Ok(exporter))
    }

    pub(crate) fn start<E: SpanExporter + 'static>(
        self,
        create: impl FnOnce(Duration, RejectedSpans) -> Result<E, PipelineError>,
    ) -> Result<SpanExporterHandle, PipelineError> {
        let config = self.config.validate()?;
        let resource = config::resource(self.service, self.attributes);
        let (runtime, rejected) = (ExportRuntime::new()?, RejectedSpans::default());
        let mut exporter = {
            // Some exporters need a runtime as soon as they are created.
            let handle = runtime.handle();
            let _entered = handle.enter();
            suppressed(|| create(config.timeout, rejected.clone()))?
        };
        exporter.set_resource(&resource);
        let counts = Arc::new(SpanCounts::new(config.queue.get()));
        let processor = BatchProcessor::start(runtime, exporter, config, counts.clone(), rejected)?;
        Ok(SpanExporterHandle::new(processor, resource, counts))
    }
}
