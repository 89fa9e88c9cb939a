use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Sleep, sleep};

/// The pause before an attempt, in which the response of the last one is discarded.
#[pin_project]
pub(crate) struct Pause<D> {
    #[pin]
    timer: Sleep,
    /// What is left of the pause once the timer has fired.
    rest: Duration,
    /// Dropped with the end of the pause at the latest, which it never puts off.
    #[pin]
    unwanted: Option<D>,
}

impl<D: Future<Output = ()>> Pause<D> {
    /// How long a response is waited for, where the pause is longer.
    const DISCARD: Duration = Duration::from_millis(100);

    pub(crate) fn new(wait: Duration, unwanted: Option<D>) -> Self {
        let first = match unwanted {
            Some(_) => wait.min(Self::DISCARD),
            None => wait,
        };
        Self {
            timer: sleep(first),
            rest: wait - first,
            unwanted,
        }
    }

    /// Polls the pause, which may be asked again once it is over.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut me = self.project();
        loop {
            // The timer comes first: a body may use up the cooperative budget of the task, and then no timer fires.
            let is_over = me.timer.is_elapsed() || me.timer.as_mut().poll(cx).is_ready();
            if !is_over {
                let Some(unwanted) = me.unwanted.as_mut().as_pin_mut() else {
                    return Poll::Pending;
                };
                ready!(unwanted.poll(cx));
            }
            me.unwanted.set(None);
            if me.rest.is_zero() {
                return if is_over {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                };
            }
            let end = me.timer.deadline() + std::mem::take(me.rest);
            me.timer.as_mut().reset(end);
        }
    }
}
