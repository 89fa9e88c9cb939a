use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};
use towerkit_core::{Deadline, InspectResult, Outcome};

/// The resolution of tokio's timers.
const TICK: Duration = Duration::from_millis(1);

/// The time that a call may wait for its response.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// No limit.
    Never,
    /// A time from the first poll that is pending, so that a call that is ready at once reads no clock.
    After(Duration),
    /// A point in time.
    At(Instant),
}

impl Limit {
    /// Limits a call by the [`Deadline`] of its request; returns `None` if that has passed.
    ///
    /// The time runs from now on, so that it includes everything before the first pending poll.
    #[cold]
    #[inline(never)]
    pub(crate) fn by(deadline: &Deadline, timeout: Duration) -> Option<Self> {
        let left = deadline.remaining().min(timeout);
        // A timeout is at most 365 days, which an `Instant` can represent.
        (!left.is_zero()).then(|| Self::At(Instant::now() + left))
    }

    /// Returns true if a call ended like this because its deadline, which inner layers know as well, has passed.
    ///
    /// A transport and an upstream that read `grpc-timeout` count down the same time: tonic's channel fails with an error, and its
    /// server responds with `CANCELLED`. They may be one tick early, because the header is rounded down.
    #[inline(always)]
    pub(crate) fn has_ended<T, E>(
        self,
        exchange: &impl InspectResult<T, E>,
        result: &Result<T, E>,
    ) -> bool {
        match self {
            Self::Never | Self::After(_) => false,
            Self::At(point) => is_given_up(exchange, result) && Instant::now() + TICK >= point,
        }
    }

    /// Creates the timer.
    pub(crate) fn timer(self) -> Option<Sleep> {
        match self {
            Self::Never => None,
            Self::After(timeout) => Some(sleep(timeout)),
            Self::At(point) => Some(sleep_until(point)),
        }
    }
}

/// Returns true if a call ended without a response, except by a rejection, which has a reason of its own.
fn is_given_up<T, E>(exchange: &impl InspectResult<T, E>, result: &Result<T, E>) -> bool {
    let end = exchange.inspect(result);
    end.rejection_reason().is_none() && (result.is_err() || end.outcome() == Outcome::Cancelled)
}
