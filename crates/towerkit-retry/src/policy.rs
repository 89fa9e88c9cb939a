use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use towerkit_core::{
    CallEnd, Event, EventQueue, EventSink, Outcome, Pushback, RejectionReason, Status,
};

use crate::{Budget, GaveUp, backoff::Backoff};

/// What all services of a layer share: the settings, the budget and the counts.
pub(crate) struct Policy {
    pub(crate) name: &'static str,
    pub(crate) attempts: AtomicU8,
    pub(crate) backoff: Mutex<Backoff>,
    pub(crate) longest_pushback: Duration,
    pub(crate) replay: usize,
    pub(crate) unless_retried: bool,
    pub(crate) when: Option<Arc<When>>,
    pub(crate) budget: Budget,
    sink: Option<Arc<dyn EventSink>>,
    outbox: EventQueue,
    pub(crate) retries: AtomicU64,
    pub(crate) exhausted: AtomicU64,
}

pub(crate) type When = dyn Fn(&CallEnd) -> bool + Send + Sync;

impl Policy {
    /// Whether a result is worth another attempt, if the call may be repeated.
    pub(crate) fn is_worth_another(&self, end: &CallEnd) -> bool {
        match &self.when {
            None => by_table(end),
            Some(when) => when(end),
        }
    }

    /// Returns the pause before retry number `retry`, the first of which is 0.
    pub(crate) fn pause(&self, retry: u8, pushback: Option<Pushback>) -> Result<Duration, GaveUp> {
        match pushback {
            Some(Pushback::After(wait)) if wait <= self.longest_pushback => Ok(wait),
            Some(_) => Err(GaveUp::Pushback),
            None => Ok(self.backoff().pause(retry.into())),
        }
    }

    /// Takes what a retry costs.
    pub(crate) fn pay(&self) -> Result<(), GaveUp> {
        // Relaxed: they are counted, and guard nothing.
        if self.budget.try_withdraw() {
            self.retries.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.exhausted.fetch_add(1, Ordering::Relaxed);
        Err(GaveUp::Budget)
    }

    #[inline(always)]
    pub(crate) fn attempts(&self) -> u8 {
        self.attempts.load(Ordering::Relaxed)
    }

    pub(crate) fn backoff(&self) -> Backoff {
        *self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change_backoff(&self, backoff: Backoff) {
        *self.backoff.lock().unwrap_or_else(PoisonError::into_inner) = backoff;
    }

    pub(crate) fn report_to(&mut self, sink: Arc<dyn EventSink>) {
        self.outbox = EventQueue::new(Some(sink.clone()));
        self.sink = Some(sink);
    }

    pub(crate) fn emit(&self, event: Event) {
        self.outbox.push(event);
        self.outbox.deliver();
    }
}

/// What is worth another attempt by default, by the table in `docs/contract.md`.
fn by_table(end: &CallEnd) -> bool {
    match end.rejection_reason() {
        // A rejection further in is the caller's own: the callee was not asked, and asking again changes nothing. Except that a
        // timeout rejects a call of which nobody knows what became.
        Some(reason) => reason == RejectionReason::DeadlineExceeded,
        None => match end.outcome() {
            Outcome::Overloaded | Outcome::TimedOut => true,
            Outcome::Failure => matches!(end.status(), None | Some(Status::Http(500 | 502))),
            _ => false,
        },
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            name: "retry",
            attempts: AtomicU8::new(3),
            backoff: Mutex::new(Backoff::DEFAULT),
            longest_pushback: Duration::from_secs(10),
            replay: 64 * 1024,
            unless_retried: false,
            when: None,
            budget: Budget::default(),
            sink: None,
            outbox: EventQueue::default(),
            retries: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
        }
    }
}

/// A policy with the same settings and the same budget that has counted nothing yet.
impl Clone for Policy {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            attempts: AtomicU8::new(self.attempts()),
            backoff: Mutex::new(self.backoff()),
            longest_pushback: self.longest_pushback,
            replay: self.replay,
            unless_retried: self.unless_retried,
            when: self.when.clone(),
            budget: self.budget.clone(),
            sink: self.sink.clone(),
            outbox: EventQueue::new(self.sink.clone()),
            retries: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("attempts", &self.attempts())
            .field("backoff", &self.backoff())
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    fn ended(outcome: Outcome, status: Status) -> CallEnd {
        CallEnd::new(outcome).with_status(Some(status))
    }

    /// The table in `docs/contract.md`.
    #[test]
    fn what_may_pass_is_worth_another_attempt_and_what_will_not_pass_is_not() {
        let worth = [
            CallEnd::new(Outcome::Failure),
            CallEnd::new(Outcome::Overloaded),
            ended(Outcome::Overloaded, Status::Http(429)),
            ended(Outcome::Failure, Status::Http(500)),
            ended(Outcome::Failure, Status::Http(502)),
            ended(Outcome::Overloaded, Status::Http(503)),
            ended(Outcome::TimedOut, Status::Http(504)),
            ended(Outcome::TimedOut, Status::Grpc(4)),
            ended(Outcome::Overloaded, Status::Grpc(8)),
            ended(Outcome::Overloaded, Status::Grpc(14)),
            CallEnd::rejected_for(RejectionReason::DeadlineExceeded),
        ];
        for end in worth {
            assert!(by_table(&end), "{end:?}");
        }
        let not = [
            CallEnd::new(Outcome::Success),
            CallEnd::new(Outcome::ClientError),
            CallEnd::cancelled(),
            ended(Outcome::Failure, Status::Http(404)),
            ended(Outcome::ClientError, Status::Http(408)),
            ended(Outcome::Failure, Status::Http(501)),
            ended(Outcome::Failure, Status::Http(505)),
            ended(Outcome::Failure, Status::Http(507)),
            ended(Outcome::Failure, Status::Grpc(2)),
            ended(Outcome::Failure, Status::Grpc(12)),
            ended(Outcome::Failure, Status::Grpc(13)),
            ended(Outcome::Failure, Status::Grpc(15)),
        ];
        let rejected = RejectionReason::ALL
            .into_iter()
            .filter(|reason| *reason != RejectionReason::DeadlineExceeded);
        for end in not.into_iter().chain(rejected.map(CallEnd::rejected_for)) {
            assert!(!by_table(&end), "{end:?}");
        }
    }
}
