use std::{sync::Arc, time::Duration};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider, SpanProcessor},
};
use tracing::Subscriber;
use tracing_subscriber::{Layer, registry::LookupSpan};

use crate::{
    FlushError, SpanExporterSnapshot, error::from_sdk, id_generator::UniqueIdGenerator,
    processor::BatchProcessor, span_counts::SpanCounts,
};

/// A running exporter of spans, started by a [`SpanPipeline`](crate::SpanPipeline).
///
/// Clones share one pipeline. It runs until [`shutdown`](Self::shutdown), or until all clones and all recorders of spans are dropped: the
/// last drop shuts it down within 5 s.
#[derive(Debug, Clone)]
pub struct SpanExporterHandle {
    provider: SdkTracerProvider,
    processor: BatchProcessor,
    counts: Arc<SpanCounts>,
}

impl SpanExporterHandle {
    pub(crate) fn new(
        processor: BatchProcessor,
        resource: Resource,
        counts: Arc<SpanCounts>,
    ) -> Self {
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor.clone())
            .with_id_generator(UniqueIdGenerator::new())
            .with_resource(resource)
            .build();
        Self {
            provider,
            processor,
            counts,
        }
    }

    /// Returns the [`tracing_subscriber::Layer`] that records spans with this pipeline: [`towerkit_trace::otel_layer`].
    ///
    /// It records the spans of sampled calls with all spans inside of them, and spans outside of calls. A subscriber takes one such
    /// layer: `tracing-opentelemetry` panics at the first span of a subscriber with two.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        towerkit_trace::otel_layer(self.tracer())
    }

    /// Returns the layer that also records events, that is, the log lines of the program inside of spans:
    /// [`towerkit_trace::otel_layer_with_events`].
    pub fn layer_with_events<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        towerkit_trace::otel_layer_with_events(self.tracer())
    }

    /// Returns an OpenTelemetry tracer that records with this pipeline.
    #[must_use]
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("towerkit")
    }

    /// Returns the counts of the spans that have ended.
    #[must_use]
    pub fn snapshot(&self) -> SpanExporterSnapshot {
        self.counts.snapshot()
    }

    /// Waits until the spans that have ended are sent, at most for `limit`. It blocks the thread.
    ///
    /// # Errors
    ///
    /// Returns a [`FlushError`] if the export failed or exceeded the limit, or after a shutdown.
    pub fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        from_sdk(self.processor.flush(limit))
    }

    /// Sends the remaining spans, at most for `limit`, and ends the pipeline.
    ///
    /// It blocks the thread, which may be one of any runtime. Spans that end later are dropped, as are those that end meanwhile.
    ///
    /// # Errors
    ///
    /// Returns a [`FlushError`] if the export failed or exceeded the limit, or after another shutdown. The
    /// [`snapshot`](Self::snapshot) has the number of lost spans.
    pub fn shutdown(&self, limit: Duration) -> Result<(), FlushError> {
        let sent = self.processor.shutdown_with_timeout(limit);
        // The processor is shut down, so this takes no time and its error is meaningless.
        let _ = self.provider.shutdown_with_timeout(limit);
        from_sdk(sent)
    }
}
