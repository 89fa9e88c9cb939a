use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};
use towerkit_core::Deadline;

/// How long a call may wait for its response.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// As long as it takes.
    Never,
    /// That long from the first poll that leaves it waiting, so that a call which is ready at once reads no clock.
    After(Duration),
    /// Until then.
    At(Instant),
}

impl Limit {
    /// Limits a call whose request has a deadline; `None` if that is over.
    ///
    /// The time runs from now, so that whatever happens on the way to the first wait comes off it.
    #[cold]
    #[inline(never)]
    pub(crate) fn by(deadline: &Deadline, timeout: Duration) -> Option<Self> {
        let left = deadline.left().min(timeout);
        // A timeout is a year at most, which an instant has room for.
        (!left.is_zero()).then(|| Self::At(Instant::now() + left))
    }

    /// Makes the timer.
    pub(crate) fn timer(self) -> Option<Sleep> {
        match self {
            Self::Never => None,
            Self::After(timeout) => Some(sleep(timeout)),
            Self::At(point) => Some(sleep_until(point)),
        }
    }
}
