use std::{sync::Arc, time::Duration};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider, SpanProcessor},
};
use tracing::Subscriber;
use tracing_subscriber::{Layer, registry::LookupSpan};

use crate::{FlushError, SpanExporterSnapshot, batch::Batch, error, ids::Ids, tally::Tally};

/// A pipeline that sends spans, made by a [`SpanPipeline`](crate::SpanPipeline).
///
/// Clones are the same pipeline. It goes on until [`shutdown`](Self::shutdown), or until all clones and all that records into it are
/// dropped: the last drop is a shutdown within 5 s.
#[derive(Debug, Clone)]
pub struct SpanExporterHandle {
    provider: SdkTracerProvider,
    batch: Batch,
    tally: Arc<Tally>,
}

impl SpanExporterHandle {
    pub(crate) fn new(batch: Batch, resource: Resource, tally: Arc<Tally>) -> Self {
        let provider = SdkTracerProvider::builder()
            .with_span_processor(batch.clone())
            .with_id_generator(Ids::new())
            .with_resource(resource)
            .build();
        Self {
            provider,
            batch,
            tally,
        }
    }

    /// Makes the layer of a `tracing` subscriber that records spans into this pipeline: those of calls that are sampled, with all spans
    /// inside of them, and those outside of calls. It is that of [`towerkit_trace::otel_layer`].
    ///
    /// A subscriber takes one such layer: `tracing-opentelemetry` panics at the first span of one that has two.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        towerkit_trace::otel_layer(self.tracer())
    }

    /// Makes the layer of a `tracing` subscriber that records events as well, whatever the program logs inside of spans. It is that of
    /// [`towerkit_trace::otel_layer_with_events`].
    pub fn layer_with_events<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        towerkit_trace::otel_layer_with_events(self.tracer())
    }

    /// Returns a tracer of OpenTelemetry that records into this pipeline.
    #[must_use]
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("towerkit")
    }

    /// Returns what became of the spans that ended so far.
    #[must_use]
    pub fn snapshot(&self) -> SpanExporterSnapshot {
        self.tally.snapshot()
    }

    /// Waits until the spans that have ended by now are sent, but no longer than `limit`. It blocks the thread.
    ///
    /// # Errors
    ///
    /// A [`FlushError`] if that took too long or failed, or after a shutdown.
    pub fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        error::result(self.batch.flush(limit))
    }

    /// Sends the last spans, in no more time than `limit`, and ends. Nothing is recorded any more. It blocks the thread, which may be
    /// one of a runtime of any kind.
    ///
    /// # Errors
    ///
    /// A [`FlushError`] if that took too long or failed; the [snapshot](Self::snapshot) says how many are lost. Also if there was a shutdown
    /// before.
    pub fn shutdown(&self, limit: Duration) -> Result<(), FlushError> {
        let sent = self.batch.shutdown_with_timeout(limit);
        // By now that takes no time, and its error says nothing of what happened.
        let _ = self.provider.shutdown_with_timeout(limit);
        error::result(sent)
    }
}
