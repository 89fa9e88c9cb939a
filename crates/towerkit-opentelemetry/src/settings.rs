use std::{num::NonZeroUsize, time::Duration};

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::PipelineError;

/// How spans are gathered and sent.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) queue: NonZeroUsize,
    pub(crate) batch: NonZeroUsize,
    pub(crate) delay: Duration,
    pub(crate) timeout: Duration,
}

const QUEUE: NonZeroUsize = NonZeroUsize::new(2048).expect("2048 is not zero");
const BATCH: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not zero");

/// What a pipeline may have for a delay or a timeout: no spinning, and no overflow.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue: QUEUE,
            batch: BATCH,
            delay: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// Rejects what would spin or never end; a batch is never larger than the queue.
    pub(crate) fn checked(mut self) -> Result<Self, PipelineError> {
        checked("the delay", self.delay)?;
        checked("the timeout", self.timeout)?;
        self.batch = self.batch.min(self.queue);
        Ok(self)
    }
}

pub(crate) fn checked(what: &str, time: Duration) -> Result<(), PipelineError> {
    if (SHORTEST..=LONGEST).contains(&time) {
        Ok(())
    } else {
        let why = format!("{what} of {time:?} is not between {SHORTEST:?} and a day");
        Err(PipelineError::new(why))
    }
}

pub(crate) fn resource(service: String, attributes: Vec<KeyValue>) -> Resource {
    Resource::builder()
        .with_attributes(attributes)
        .with_service_name(service)
        .build()
}

/// A little less than a limit, so that what is lost at the end of it is counted by then.
pub(crate) fn almost(limit: Duration) -> Duration {
    limit.min(LONGEST).mul_f32(0.95)
}

/// When there is no time left, for a shutdown that begins now.
pub(crate) fn until(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(almost(limit)).unwrap_or(now)
}

/// Until the time for the shutdown is up.
pub(crate) async fn closed(mut closing: watch::Receiver<Option<Instant>>) {
    let until = closing.wait_for(Option::is_some).await.map(|until| *until);
    match until {
        Ok(Some(until)) => sleep_until(until).await,
        // Nobody is left who could ask for a shutdown.
        _ => std::future::pending().await,
    }
}
