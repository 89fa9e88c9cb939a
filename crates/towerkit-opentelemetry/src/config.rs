use std::{num::NonZeroUsize, time::Duration};

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use towerkit_core::ConfigError;

/// The options of a [`SpanPipeline`](crate::SpanPipeline).
#[derive(Debug, Clone)]
pub(crate) struct ExportConfig {
    pub(crate) queue: NonZeroUsize,
    pub(crate) batch: NonZeroUsize,
    pub(crate) delay: Duration,
    pub(crate) timeout: Duration,
}

const QUEUE: NonZeroUsize = NonZeroUsize::new(2048).expect("2048 is not zero");
const BATCH: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not zero");

/// The shortest delay or timeout; a shorter one would keep the thread busy.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest delay or timeout; a longer one could overflow an [`Instant`].
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            queue: QUEUE,
            batch: BATCH,
            delay: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
        }
    }
}

impl ExportConfig {
    /// Checks the durations, and limits the batch to the queue.
    pub(crate) fn validate(mut self) -> Result<Self, ConfigError> {
        validate("delay", self.delay)?;
        validate("timeout", self.timeout)?;
        self.batch = self.batch.min(self.queue);
        Ok(self)
    }
}

/// Checks the duration of a setting.
pub(crate) fn validate(setting: &'static str, duration: Duration) -> Result<(), ConfigError> {
    if (SHORTEST..=LONGEST).contains(&duration) {
        Ok(())
    } else {
        Err(ConfigError::new(
            setting,
            duration,
            "a duration from 1 ms to 24 h",
        ))
    }
}

pub(crate) fn resource(service: String, attributes: Vec<KeyValue>) -> Resource {
    Resource::builder()
        .with_attributes(attributes)
        .with_service_name(service)
        .build()
}

/// Returns 95 % of a limit, so that spans are counted as failed before the limit expires.
pub(crate) fn with_margin(limit: Duration) -> Duration {
    limit.min(LONGEST).mul_f32(0.95)
}

/// Returns the deadline of a shutdown that begins now.
pub(crate) fn shutdown_deadline(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(with_margin(limit)).unwrap_or(now)
}

/// Waits for a shutdown to begin and for its deadline to expire.
pub(crate) async fn wait_for_deadline(mut shutdown: watch::Receiver<Option<Instant>>) {
    let deadline = shutdown.wait_for(Option::is_some).await.map(|at| *at);
    match deadline {
        Ok(Some(deadline)) => sleep_until(deadline).await,
        // All handles are dropped, so a shutdown cannot begin any more.
        _ => std::future::pending().await,
    }
}
