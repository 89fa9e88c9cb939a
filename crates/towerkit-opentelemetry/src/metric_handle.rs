use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use tokio::{sync::watch, time::Instant};

use crate::{
    FlushError, OtelMeter,
    config::{shutdown_deadline, with_margin},
    error::from_sdk,
};

/// A running exporter of metrics, started by a [`MetricPipeline`](crate::MetricPipeline).
///
/// Clones share one pipeline. It runs until [`shutdown`](Self::shutdown), or until all clones are dropped: the last drop shuts it down
/// within 5 s.
#[derive(Debug, Clone)]
pub struct MetricExporterHandle {
    provider: SdkMeterProvider,
    meter: OtelMeter,
    deadline: Arc<watch::Sender<Option<Instant>>>,
    failures: Arc<AtomicU64>,
}

impl MetricExporterHandle {
    pub(crate) fn new(
        provider: SdkMeterProvider,
        deadline: watch::Sender<Option<Instant>>,
        failures: Arc<AtomicU64>,
    ) -> Self {
        Self {
            meter: OtelMeter::new(provider.meter("towerkit")),
            provider,
            deadline: Arc::new(deadline),
            failures,
        }
    }

    /// Returns the [`Provider`](towerkit_metrics::Provider) for [`MetricsLayer::registry`](towerkit_metrics::MetricsLayer::registry).
    #[must_use]
    pub fn meter(&self) -> OtelMeter {
        self.meter.clone()
    }

    /// Returns the number of exports that failed, timed out, or were rejected in part. The next export includes their metrics.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Sends the metrics now, after an export that is already running, at most for the [timeout](crate::MetricPipeline::timeout).
    /// It blocks the thread.
    ///
    /// # Errors
    ///
    /// Returns a [`FlushError`] if the export failed, or after a shutdown.
    pub fn flush(&self) -> Result<(), FlushError> {
        from_sdk(self.provider.force_flush())
    }

    /// Sends the metrics a last time, at most for `limit` and 5 s, and ends the pipeline.
    ///
    /// It blocks the thread, which may be one of any runtime.
    ///
    /// # Errors
    ///
    /// Returns a [`FlushError`] if the export failed or exceeded the limit, or after another shutdown.
    pub fn shutdown(&self, limit: Duration) -> Result<(), FlushError> {
        let before = self.failures();
        let start = Instant::now();
        self.deadline.send_replace(Some(shutdown_deadline(limit)));
        let sent = self.provider.shutdown_with_timeout(limit);
        let is_late = start.elapsed() >= with_margin(limit) && self.failures() > before;
        match sent {
            Err(_) if is_late => Err(FlushError::TIMEOUT),
            sent => from_sdk(sent),
        }
    }
}
