use std::{num::NonZeroUsize, time::Duration};

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
    /// Refuses what would spin or never end; a batch is never larger than the queue.
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
