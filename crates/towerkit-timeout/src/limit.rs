use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};
use towerkit_core::{Deadline, InspectResult, Outcome};

/// A tick of a timer.
const TICK: Duration = Duration::from_millis(1);

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
        let left = deadline.remaining().min(timeout);
        // A timeout is a year at most, which an instant has room for.
        (!left.is_zero()).then(|| Self::At(Instant::now() + left))
    }

    /// Whether a call ended in this way because its deadline was there, of which others inside know as well.
    ///
    /// A transport and a callee that read `grpc-timeout` count the same time down: tonic's channel then fails, and its server answers
    /// `CANCELLED`. What they count is rounded down, and timers tick in milliseconds, so that they may be a little early.
    #[inline(always)]
    pub(crate) fn ended<T, E>(
        self,
        exchange: &impl InspectResult<T, E>,
        result: &Result<T, E>,
    ) -> bool {
        match self {
            Self::Never | Self::After(_) => false,
            Self::At(point) => is_given_up(exchange, result) && Instant::now() + TICK >= point,
        }
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

/// Whether a call was given up without an answer, by anything but a layer further in, which says why.
fn is_given_up<T, E>(exchange: &impl InspectResult<T, E>, result: &Result<T, E>) -> bool {
    let end = exchange.inspect(result);
    end.rejection_reason().is_none() && (result.is_err() || end.outcome() == Outcome::Cancelled)
}
