use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::SpanExporter;

use crate::{
    PipelineError, SpanExporterHandle,
    batch::Batch,
    engine::{Engine, silently},
    rejected::Rejected,
    settings::{self, Settings},
    tally::Tally,
};

/// What there is to say of how spans are sent; `otlp_grpc`, `otlp_http`, `zipkin` and [`exporter`](Self::exporter) begin to send.
///
/// See the [crate docs](crate).
#[derive(Debug, Clone)]
pub struct SpanPipeline {
    service: String,
    attributes: Vec<KeyValue>,
    settings: Settings,
}

impl SpanPipeline {
    /// Makes the pipeline of the service of this name, which becomes `service.name`.
    ///
    /// Other attributes of the process are read from the variable `OTEL_RESOURCE_ATTRIBUTES`.
    #[must_use]
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            attributes: Vec::new(),
            settings: Settings::default(),
        }
    }

    /// Says something of the process with all of its spans, such as `deployment.environment.name`.
    #[must_use]
    pub fn attribute(mut self, attribute: KeyValue) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// Holds at most so many spans, those that are being sent included; 2048 by default. Those over it are dropped.
    #[must_use]
    pub fn queue(mut self, most: NonZeroUsize) -> Self {
        self.settings.queue = most;
        self
    }

    /// Sends at most so many spans at once, and as soon as there are so many; 512 by default, and never more than the queue holds.
    #[must_use]
    pub fn batch(mut self, most: NonZeroUsize) -> Self {
        self.settings.batch = most;
        self
    }

    /// Sends what there is after this time, from 1 ms to a day; 5 s by default.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.settings.delay = delay;
        self
    }

    /// Gives up on a batch after this time, from 1 ms to a day, with all that the exporter tries again; 10 s by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Sends spans by an exporter of the program's own. It runs on a thread with a tokio runtime, with I/O and time.
    ///
    /// # Errors
    ///
    /// A [`PipelineError`] if a setting makes no sense, or the thread that sends cannot start.
    pub fn exporter(
        self,
        exporter: impl SpanExporter + 'static,
    ) -> Result<SpanExporterHandle, PipelineError> {
        self.start(|_, _| Ok(exporter))
    }

    pub(crate) fn start<E: SpanExporter + 'static>(
        self,
        make: impl FnOnce(Duration, Rejected) -> Result<E, PipelineError>,
    ) -> Result<SpanExporterHandle, PipelineError> {
        let settings = self.settings.checked()?;
        let resource = settings::resource(self.service, self.attributes);
        let (engine, rejected) = (Engine::new()?, Rejected::default());
        let mut exporter = {
            // Some exporters look for a runtime as soon as they are made.
            let handle = engine.handle();
            let _inside = handle.enter();
            silently(|| make(settings.timeout, rejected.clone()))?
        };
        exporter.set_resource(&resource);
        let tally = Arc::new(Tally::new(settings.queue.get()));
        let batch = Batch::start(engine, exporter, settings, tally.clone(), rejected)?;
        Ok(SpanExporterHandle::new(batch, resource, tally))
    }
}
