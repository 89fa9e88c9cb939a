use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::{error::OTelSdkResult, metrics::SdkMeterProvider};
use tokio::{sync::watch, time::Instant};

use crate::{FlushError, OtelMeter, error, settings};

/// A pipeline that sends metrics, made by a [`MetricPipeline`](crate::MetricPipeline).
///
/// Clones are the same pipeline. It goes on until [`shutdown`](Self::shutdown), or until all clones are dropped: the last drop is a
/// shutdown within 5 s.
#[derive(Debug, Clone)]
pub struct MetricExporterHandle {
    provider: SdkMeterProvider,
    meter: OtelMeter,
    closing: Arc<watch::Sender<Option<Instant>>>,
    failures: Arc<AtomicU64>,
}

impl MetricExporterHandle {
    pub(crate) fn new(
        provider: SdkMeterProvider,
        closing: watch::Sender<Option<Instant>>,
        failures: Arc<AtomicU64>,
    ) -> Self {
        Self {
            meter: OtelMeter::new(provider.meter("towerkit")),
            provider,
            closing: Arc::new(closing),
            failures,
        }
    }

    /// Returns the backend for `MetricsLayer::registry`.
    #[must_use]
    pub fn meter(&self) -> OtelMeter {
        self.meter.clone()
    }

    /// Returns how many exports failed, took too long, or were rejected in part. Their metrics are in the next one that does not.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Sends the metrics now, and waits for it, but no longer than the [timeout](crate::MetricPipeline::timeout), and for an export that
    /// runs already. It blocks the thread.
    ///
    /// # Errors
    ///
    /// A [`FlushError`] if that failed, or after a shutdown.
    pub fn flush(&self) -> Result<(), FlushError> {
        error::result(self.provider.force_flush())
    }

    /// Sends the metrics a last time, in no more time than `limit`, and than 5 s, and ends. It blocks the thread, which may be one of a
    /// runtime of any kind.
    ///
    /// # Errors
    ///
    /// A [`FlushError`] if that failed or took too long, or if there was a shutdown before.
    pub fn shutdown(&self, limit: Duration) -> Result<(), FlushError> {
        let before = self.failures();
        let start = Instant::now();
        self.closing.send_replace(Some(settings::until(limit)));
        let sent: OTelSdkResult = self.provider.shutdown_with_timeout(limit);
        let is_late = start.elapsed() >= settings::almost(limit) && self.failures() > before;
        match sent {
            Err(_) if is_late => Err(FlushError::LATE),
            sent => error::result(sent),
        }
    }
}
