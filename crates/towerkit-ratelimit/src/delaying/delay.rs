use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::{pin_project, pinned_drop};
use tokio::time::{Sleep, sleep};
use towerkit_core::{Clock, Rejection};

use super::delayed::Delayed;
use crate::meter::CallState;

/// What a call waits for whose tokens are still to come.
///
/// Dropping it gives its place in the line up, and its tokens back.
#[pin_project(PinnedDrop)]
pub struct Delay<H> {
    /// None once the call may go.
    delayed: Option<Arc<Delayed>>,
    clock: Clock,
    number: u64,
    cost: u32,
    /// When the timer goes off, on the clock.
    until: u64,
    #[pin]
    timer: Option<Sleep>,
    held: PhantomData<fn() -> H>,
}

impl<H> Delay<H> {
    pub(crate) fn new(delayed: Arc<Delayed>, clock: Clock, number: u64, cost: u32) -> Self {
        Self {
            delayed: Some(delayed),
            clock,
            number,
            cost,
            until: 0,
            timer: None,
            held: PhantomData,
        }
    }
}

impl<H: CallState> Future for Delay<H> {
    type Output = Result<H, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        loop {
            let now = me.clock.now();
            let delayed = me.delayed.as_ref().expect("not polled after completion");
            let Some(wait) = delayed.look(*me.number, now, cx.waker()) else {
                let held = H::of(|| delayed.taken(now));
                *me.delayed = None;
                return Poll::Ready(Ok(held));
            };
            set_timer(me.timer.as_mut(), me.until, now, wait);
            let timer = me.timer.as_mut().as_pin_mut();
            ready!(timer.expect("set before").poll(cx));
            me.timer.set(None);
        }
    }
}

/// Sets the timer, unless it stands right.
fn set_timer(mut timer: Pin<&mut Option<Sleep>>, until: &mut u64, now: u64, wait: Duration) {
    let due = now.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
    // A nanosecond to and fro is rounding.
    if timer.is_none() || until.abs_diff(due) > 1 {
        *until = due;
        timer.set(Some(sleep(wait)));
    }
}

#[pinned_drop]
impl<H> PinnedDrop for Delay<H> {
    fn drop(self: Pin<&mut Self>) {
        if let Some(delayed) = &self.delayed {
            delayed.leave(self.number, self.cost, self.clock.now());
        }
    }
}

impl<H> fmt::Debug for Delay<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delay")
            .field("number", &self.number)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}
