use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Sleep, sleep};

/// The delay before an attempt, in which the response of the last attempt is drained.
#[pin_project]
pub(crate) struct Delay<D> {
    #[pin]
    timer: Sleep,
    /// The rest of the delay after the timer has fired.
    rest: Duration,
    /// Dropped at the end of the delay at the latest, which it never extends.
    #[pin]
    drain: Option<D>,
}

impl<D: Future<Output = ()>> Delay<D> {
    /// The longest time for which a response is drained, within a longer delay.
    const MAX_DRAIN: Duration = Duration::from_millis(100);

    pub(crate) fn new(delay: Duration, drain: Option<D>) -> Self {
        let first = match drain {
            Some(_) => delay.min(Self::MAX_DRAIN),
            None => delay,
        };
        Self {
            timer: sleep(first),
            rest: delay - first,
            drain,
        }
    }

    /// Polls the delay; it may be polled again after its end.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            // The timer comes first: a body may use up the cooperative budget of the task, and then no timer fires.
            let is_over = this.timer.is_elapsed() || this.timer.as_mut().poll(cx).is_ready();
            if !is_over {
                let Some(drain) = this.drain.as_mut().as_pin_mut() else {
                    return Poll::Pending;
                };
                ready!(drain.poll(cx));
            }
            this.drain.set(None);
            if this.rest.is_zero() {
                return if is_over {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                };
            }
            let end = this.timer.deadline() + std::mem::take(this.rest);
            this.timer.as_mut().reset(end);
        }
    }
}
