use std::{
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};
use towerkit_core::Deadline;

/// The limits of one response body.
#[derive(Debug, Clone)]
pub(crate) struct BodyLimits {
    pub(crate) idle: Duration,
    pub(crate) total: Option<Duration>,
    pub(crate) deadline: Option<Deadline>,
}

impl BodyLimits {
    /// Starts the timer, at the head of the response.
    pub(crate) fn start(&self) -> BodyTimer {
        let left = self.deadline.as_ref().map(Deadline::remaining);
        let total = self.total.into_iter().chain(left).min();
        BodyTimer {
            idle: self.idle,
            // A total time is at most 365 days, and the time left of a deadline less than 600 years.
            end: total.map(|total| Instant::now() + total),
            sleep: None,
            waits_for: None,
        }
    }
}

/// The limit that a body has exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    Idle,
    Total,
}

/// The limits of one body, with one timer for both that is created at the body's first pending poll.
#[derive(Debug)]
pub(crate) struct BodyTimer {
    idle: Duration,
    /// The point in time at which the body must have ended.
    end: Option<Instant>,
    /// Boxed, so that the body stays `Unpin`, and small if it is never pending.
    sleep: Option<Pin<Box<Sleep>>>,
    /// The limit for which the timer is set, while the body is pending.
    waits_for: Option<Exceeded>,
}

impl BodyTimer {
    /// Resets the idle time after a frame.
    pub(crate) fn progressed(&mut self) {
        self.waits_for = None;
    }

    /// Returns true if the total time has passed, even if the body was never pending.
    pub(crate) fn is_past_end(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() > end)
    }

    /// Polls the timer of a pending body: ready when a limit is exceeded.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Exceeded> {
        let exceeded = match self.waits_for {
            Some(exceeded) => exceeded,
            None => self.start_wait(),
        };
        let sleep = self.sleep.as_mut().expect("set when the wait began");
        // The body may have used up the task's cooperative budget.
        ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
        Poll::Ready(exceeded)
    }

    /// Sets the timer to the limit that comes first.
    fn start_wait(&mut self) -> Exceeded {
        let idle = Instant::now() + self.idle;
        let (point, exceeded) = match self.end {
            Some(end) if end <= idle => (end, Exceeded::Total),
            _ => (idle, Exceeded::Idle),
        };
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(point),
            None => self.sleep = Some(Box::pin(sleep_until(point))),
        }
        *self.waits_for.insert(exceeded)
    }
}
