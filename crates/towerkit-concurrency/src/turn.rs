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
    guard::Permit,
    limit::Shared,
    line::{Key, Turned},
    room::Pool,
};

/// A call that waits for room.
///
/// Woken once: when something becomes of it, or when it has waited too long. Dropping it gives its place in the line back, and the
/// permit too if it was admitted meanwhile.
pub struct Turn {
    shared: Arc<Shared>,
    /// Its entry in the line, until something has become of it.
    key: Option<Key>,
    expires: u64,
    deadline: Option<Deadline>,
    /// Why it is rejected when its time is over.
    reason: RejectionReason,
    /// Made at the first poll, and boxed, so that the future of a call that need not wait stays small.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Turn {
    pub(crate) fn new(
        shared: Arc<Shared>,
        key: Key,
        expires: u64,
        deadline: Option<Deadline>,
        reason: RejectionReason,
    ) -> Self {
        Self {
            shared,
            key: Some(key),
            expires,
            deadline,
            reason,
            timer: None,
        }
    }

    /// Takes the place of a call that may have got it when its time was over.
    fn take(&self, pool: Pool) -> Result<Permit, Rejection> {
        if self.is_over() {
            if self.shared.room.leave(pool).is_waiting() {
                self.shared.room.hand_over(self.shared.now());
            }
            return Err(self.rejection());
        }
        Ok(Permit { pool, started: 0 })
    }

    fn is_over(&self) -> bool {
        self.shared.now() >= self.expires || self.deadline_is_over()
    }

    fn deadline_is_over(&self) -> bool {
        self.deadline.as_ref().is_some_and(Deadline::has_passed)
    }

    fn rejection(&self) -> Rejection {
        self.shared.rejection(if self.deadline_is_over() {
            RejectionReason::DeadlineExceeded
        } else {
            self.reason
        })
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = || Duration::from_nanos(self.expires.saturating_sub(self.shared.now()));
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left())));
        timer.as_mut().poll(cx)
    }
}

impl Future for Turn {
    type Output = Result<Permit, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = &mut *self;
        let key = me.key.expect("not polled after completion");
        if let Some(result) = me.shared.room.look(key, Some(cx.waker())) {
            me.key = None;
            // Or it would wake the task once more, for nothing.
            me.timer = None;
            return Poll::Ready(match result {
                Ok(pool) => me.take(pool),
                Err(Turned::Away) => Err(me.shared.rejection(RejectionReason::Overloaded)),
                Err(Turned::TooOld) => Err(me.rejection()),
            });
        }
        ready!(me.poll_timer(cx));
        me.key = None;
        me.shared.room.abandon(key, || me.shared.now());
        Poll::Ready(Err(me.rejection()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shared.room.abandon(key, || self.shared.now());
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("waits", &self.key.is_some())
            .finish_non_exhaustive()
    }
}
