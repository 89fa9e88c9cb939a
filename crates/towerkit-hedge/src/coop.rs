use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    task::coop::{has_budget_remaining, unconstrained},
    time::Sleep,
};

/// Whether tokio's cooperative budget was left before a future was polled, which may use it up at every poll.
///
/// A timer is pending while there is none, so that the time of such a future would never be up: `tokio::time::timeout` has the same
/// remedy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CoopBudget {
    was_left: bool,
}

impl CoopBudget {
    /// To be called before the future is polled.
    #[inline(always)]
    pub(crate) fn before_poll() -> Self {
        Self {
            was_left: has_budget_remaining(),
        }
    }

    /// Polls the timer of the future, which has been polled in between.
    pub(crate) fn poll_timer(self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        if self.was_left && !has_budget_remaining() {
            let mut timer = unconstrained(timer);
            return Pin::new(&mut timer).poll(cx);
        }
        timer.as_mut().poll(cx)
    }
}
