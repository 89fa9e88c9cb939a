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

use super::queued_bucket::QueuedBucket;
use crate::config::CallState;

/// A future that waits in the queue of a [`DelayingRateLimitLayer`](crate::DelayingRateLimitLayer) until the tokens of a call are there.
///
/// Dropping it leaves the queue and returns the tokens to the calls behind.
#[pin_project(PinnedDrop)]
pub struct AcquireFuture<S> {
    /// `None` once the call was admitted.
    bucket: Option<Arc<QueuedBucket>>,
    clock: Clock,
    ticket: u64,
    cost: u32,
    /// The time at which the timer fires, by the clock.
    fires_at: u64,
    #[pin]
    timer: Option<Sleep>,
    state: PhantomData<fn() -> S>,
}

impl<S> AcquireFuture<S> {
    pub(crate) fn new(bucket: Arc<QueuedBucket>, clock: Clock, ticket: u64, cost: u32) -> Self {
        Self {
            bucket: Some(bucket),
            clock,
            ticket,
            cost,
            fires_at: 0,
            timer: None,
            state: PhantomData,
        }
    }
}

impl<S: CallState> Future for AcquireFuture<S> {
    type Output = Result<S, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        loop {
            let now = me.clock.now();
            let bucket = me.bucket.as_ref().expect("not polled after completion");
            let Some(wait) = bucket.poll_ticket(*me.ticket, now, cx.waker()) else {
                let state = S::new(|| bucket.admitted_call(now));
                *me.bucket = None;
                return Poll::Ready(Ok(state));
            };
            set_timer(me.timer.as_mut(), me.fires_at, now, wait);
            let timer = me.timer.as_mut().as_pin_mut();
            ready!(timer.expect("set before").poll(cx));
            me.timer.set(None);
        }
    }
}

/// Sets the timer, unless it fires at the right time already.
fn set_timer(mut timer: Pin<&mut Option<Sleep>>, fires_at: &mut u64, now: u64, wait: Duration) {
    let due = now.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
    // A difference of a nanosecond is rounding.
    if timer.is_none() || fires_at.abs_diff(due) > 1 {
        *fires_at = due;
        timer.set(Some(sleep(wait)));
    }
}

#[pinned_drop]
impl<S> PinnedDrop for AcquireFuture<S> {
    fn drop(self: Pin<&mut Self>) {
        if let Some(bucket) = &self.bucket {
            bucket.leave(self.ticket, self.cost, self.clock.now());
        }
    }
}

impl<S> fmt::Debug for AcquireFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireFuture")
            .field("ticket", &self.ticket)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}
