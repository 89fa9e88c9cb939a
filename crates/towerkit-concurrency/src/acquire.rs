use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep};
use towerkit_core::{Deadline, Rejection, RejectionReason};

use crate::{
    partitions::PermitOrigin,
    state::{LimitState, Permit},
    wait_queue::{WaitError, WaiterKey},
};

/// The future of a [`Permit`], for a call that waits in the [`Queue`](crate::Queue).
///
/// It is woken once: when it is resolved, or when its wait time is over. Dropping it removes the call from the queue, and passes the
/// permit on if the call had been admitted.
pub struct AcquireFuture {
    state: Arc<LimitState>,
    /// The place in the queue, until the future is resolved.
    key: Option<WaiterKey>,
    expires: u64,
    deadline: Option<Deadline>,
    /// The reason to reject the call when its wait time is over.
    timeout_reason: RejectionReason,
    /// Created by the first poll, and boxed to keep the future of a call that need not wait small.
    timer: Option<Pin<Box<Sleep>>>,
}

impl AcquireFuture {
    pub(crate) fn new(
        state: Arc<LimitState>,
        key: WaiterKey,
        expires: u64,
        deadline: Option<Deadline>,
        timeout_reason: RejectionReason,
    ) -> Self {
        Self {
            state,
            key: Some(key),
            expires,
            deadline,
            timeout_reason,
            timer: None,
        }
    }

    /// Accepts the permit, or passes it on if the call was polled after its wait time.
    fn accept(&self, origin: PermitOrigin) -> Result<Permit, Rejection> {
        if self.is_expired() {
            if self.state.limiter.release(origin).is_waiting() {
                self.state.limiter.serve_queue(self.state.now());
            }
            return Err(self.timeout());
        }
        Ok(Permit { origin, started: 0 })
    }

    fn is_expired(&self) -> bool {
        self.state.now() >= self.expires || self.is_deadline_over()
    }

    fn is_deadline_over(&self) -> bool {
        self.deadline.as_ref().is_some_and(Deadline::has_passed)
    }

    fn timeout(&self) -> Rejection {
        self.state.rejection(if self.is_deadline_over() {
            RejectionReason::DeadlineExceeded
        } else {
            self.timeout_reason
        })
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = || Duration::from_nanos(self.expires.saturating_sub(self.state.now()));
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left())));
        timer.as_mut().poll(cx)
    }
}

impl Future for AcquireFuture {
    type Output = Result<Permit, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = &mut *self;
        let key = me.key.expect("not polled after completion");
        if let Some(result) = me.state.limiter.poll_waiter(key, Some(cx.waker())) {
            me.key = None;
            // Dropped here, because it would wake the task a second time.
            me.timer = None;
            return Poll::Ready(match result {
                Ok(origin) => me.accept(origin),
                Err(WaitError::Evicted) => Err(me.state.rejection(RejectionReason::Overloaded)),
                Err(WaitError::Expired) => Err(me.timeout()),
            });
        }
        ready!(me.poll_timer(cx));
        me.key = None;
        me.state.limiter.cancel_waiter(key, || me.state.now());
        Poll::Ready(Err(me.timeout()))
    }
}

impl Drop for AcquireFuture {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.state.limiter.cancel_waiter(key, || self.state.now());
        }
    }
}

impl fmt::Debug for AcquireFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireFuture")
            .field("is_waiting", &self.key.is_some())
            .finish_non_exhaustive()
    }
}
