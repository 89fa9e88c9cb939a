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

/// What is allowed to the body of one response.
#[derive(Debug, Clone)]
pub(crate) struct BodyLimits {
    pub(crate) idle: Duration,
    pub(crate) total: Option<Duration>,
    pub(crate) deadline: Option<Deadline>,
}

impl BodyLimits {
    /// Starts with the head of the response.
    pub(crate) fn start(&self) -> BodyTimer {
        let left = self.deadline.as_ref().map(Deadline::remaining);
        let total = self.total.into_iter().chain(left).min();
        BodyTimer {
            idle: self.idle,
            // A total time is a year at most, and what is left of a deadline less than 600 years.
            end: total.map(|total| Instant::now() + total),
            alarm: None,
            waits_for: None,
        }
    }
}

/// Which limit a body has exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    Idle,
    Total,
}

/// The limits on one body, and one timer for both, which is made when the body first lets its reader wait.
#[derive(Debug)]
pub(crate) struct BodyTimer {
    idle: Duration,
    /// When the body has to be over.
    end: Option<Instant>,
    /// Boxed, so that a body that may move still may, and one that never waits is no larger for it.
    alarm: Option<Pin<Box<Sleep>>>,
    /// The limit for which the alarm is set, while the reader waits.
    waits_for: Option<Exceeded>,
}

impl BodyTimer {
    /// The body had something for its reader.
    pub(crate) fn progressed(&mut self) {
        self.waits_for = None;
    }

    /// Whether the time of the whole body is up, though it may have kept its reader busy all along.
    pub(crate) fn is_past_end(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() > end)
    }

    /// The body lets its reader wait: ready once it has done so for too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Exceeded> {
        let exceeded = match self.waits_for {
            Some(exceeded) => exceeded,
            None => self.set_alarm(),
        };
        let alarm = self.alarm.as_mut().expect("set when the wait began");
        // The body may have used up the cooperative budget of the task.
        ready!(pin!(unconstrained(alarm.as_mut())).poll(cx));
        Poll::Ready(exceeded)
    }

    /// Sets the alarm to whichever limit comes first.
    fn set_alarm(&mut self) -> Exceeded {
        let idle = Instant::now() + self.idle;
        let (point, exceeded) = match self.end {
            Some(end) if end <= idle => (end, Exceeded::Total),
            _ => (idle, Exceeded::Idle),
        };
        match &mut self.alarm {
            Some(alarm) => alarm.as_mut().reset(point),
            None => self.alarm = Some(Box::pin(sleep_until(point))),
        }
        *self.waits_for.insert(exceeded)
    }
}
