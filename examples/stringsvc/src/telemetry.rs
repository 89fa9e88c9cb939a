use std::io;
use std::time::Duration;

use towerkit::core::BoxError;
use towerkit::log::Background;
use towerkit::log::LineFormatter;
use towerkit::log::LogGuard;
use towerkit::metrics::MetricError;
use towerkit::metrics::Registry;
use towerkit::opentelemetry::SpanExporterHandle;
use towerkit::opentelemetry::SpanPipeline;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::Args;

/// Where log lines and spans go, until it is dropped: then the last of both are written.
#[derive(Debug)]
#[must_use = "what is not written when it is dropped is lost"]
pub struct Telemetry {
    spans: Option<SpanExporterHandle>,
    log: LogGuard,
}

impl Telemetry {
    /// Writes the log to stderr, and sends spans to the collector, if there is one; neither ever holds up a call.
    ///
    /// # Errors
    ///
    /// If the collector's address makes no sense, a thread cannot start, or the process has a subscriber already.
    pub fn start(args: &Args) -> Result<Self, BoxError> {
        let pipeline = || SpanPipeline::new("stringsvc");
        let spans = args.otlp.as_ref().map(|otlp| pipeline().otlp_grpc(otlp));
        let spans = spans
            .transpose()
            .map_err(|error| format!("--otlp: {error}"))?;

        let format = args.log_format.into();
        let (queue, guard) = Background::new().start(format, io::stderr)?;
        let lines = LineFormatter::new(format)
            .writer(queue)
            .with_filter(args.log);
        tracing_subscriber::registry()
            .with(spans.as_ref().map(SpanExporterHandle::layer))
            .with(lines)
            .try_init()?;
        Ok(Self { spans, log: guard })
    }
}

impl Telemetry {
    /// Shows on `/metrics` what does not arrive.
    ///
    /// # Errors
    ///
    /// If the registry has another metric of that name.
    pub fn show_losses(&self, registry: &Registry) -> Result<(), MetricError> {
        const NAME: &str = "telemetry_lost_total";
        const HELP: &str = "Log lines and spans that were lost.";
        let queue = self.log.queue().clone();
        registry.observable_counter(NAME, HELP, &[("what", "log_lines")], move || {
            queue.dropped()
        })?;
        let Some(spans) = self.spans.clone() else {
            return Ok(());
        };
        registry.observable_counter(NAME, HELP, &[("what", "spans")], move || {
            spans.snapshot().lost()
        })
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        const LIMIT: Duration = Duration::from_secs(2);
        let Some(spans) = &self.spans else { return };
        if spans.shutdown(LIMIT).is_err() {
            tracing::warn!(spans = spans.snapshot().lost(), "spans are lost");
        }
    }
}
