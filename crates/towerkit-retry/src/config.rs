use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use towerkit_core::{
    CallEnd, ConfigError, Event, EventQueue, Name, Outcome, Pushback, RejectionReason, Status,
};

use crate::{
    Budget, GiveUpReason,
    backoff::Backoff,
    sync::{Mutex, lock},
};

/// The settings, the budget and the counts that all services of a layer share.
pub(crate) struct Config {
    pub(crate) name: Name,
    pub(crate) attempts: AtomicU8,
    pub(crate) backoff: Mutex<Backoff>,
    pub(crate) max_pushback: Duration,
    pub(crate) max_replay_bytes: usize,
    pub(crate) unless_retried: bool,
    /// The user's replacement for [`is_retryable_by_default`].
    pub(crate) is_retryable: Option<Arc<IsRetryable>>,
    pub(crate) budget: Budget,
    pub(crate) events: EventQueue,
    pub(crate) retries: AtomicU64,
    pub(crate) exhausted: AtomicU64,
}

pub(crate) type IsRetryable = dyn Fn(&CallEnd) -> bool + Send + Sync;

impl Config {
    /// Returns true if a result is worth another attempt, if the call may be repeated.
    pub(crate) fn is_retryable(&self, end: &CallEnd) -> bool {
        match &self.is_retryable {
            None => is_retryable_by_default(end),
            Some(is_retryable) => is_retryable(end),
        }
    }

    /// Returns the delay before a retry, the first of which has number 0.
    pub(crate) fn delay(
        &self,
        retry: u8,
        pushback: Option<Pushback>,
    ) -> Result<Duration, GiveUpReason> {
        match pushback {
            Some(Pushback::After(delay)) if delay <= self.max_pushback => Ok(delay),
            Some(_) => Err(GiveUpReason::Pushback),
            None => Ok(self.backoff().delay(retry.into())),
        }
    }

    /// Pays for a retry from the budget.
    pub(crate) fn withdraw(&self) -> Result<(), GiveUpReason> {
        // Relaxed: the counts guard no other data.
        if self.budget.try_withdraw() {
            self.retries.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.exhausted.fetch_add(1, Ordering::Relaxed);
        Err(GiveUpReason::Budget)
    }

    #[inline(always)]
    pub(crate) fn attempts(&self) -> u8 {
        self.attempts.load(Ordering::Relaxed)
    }

    fn backoff(&self) -> Backoff {
        *lock(&self.backoff)
    }

    pub(crate) fn set_backoff(&self, backoff: Backoff) {
        *lock(&self.backoff) = backoff;
    }

    pub(crate) fn emit(&self, event: Event) {
        self.events.push(event);
        self.events.deliver();
    }
}

/// Checks a number of attempts.
pub(crate) fn checked_attempts(attempts: u8) -> Result<u8, ConfigError> {
    match attempts {
        0 => Err(ConfigError::new("attempts", attempts, "at least 1")),
        attempts => Ok(attempts),
    }
}

/// Returns true for the retryable results of the table in `docs/contract.md`.
fn is_retryable_by_default(end: &CallEnd) -> bool {
    match end.rejection_reason() {
        // An inner layer rejected the call: the upstream was not asked, and another attempt would meet the same guard. But after
        // a timeout the upstream may have been too slow.
        Some(reason) => reason == RejectionReason::DeadlineExceeded,
        None => match end.outcome() {
            Outcome::Overloaded | Outcome::TimedOut => true,
            Outcome::Failure => matches!(end.status(), None | Some(Status::Http(500 | 502))),
            _ => false,
        },
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: Name::new("retry"),
            attempts: AtomicU8::new(3),
            backoff: Mutex::new(Backoff::DEFAULT),
            max_pushback: Duration::from_secs(10),
            max_replay_bytes: 64 * 1024,
            unless_retried: false,
            is_retryable: None,
            budget: Budget::default(),
            events: EventQueue::default(),
            retries: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
        }
    }
}

/// Copies the settings and shares the budget; the counts start at zero.
impl Clone for Config {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            attempts: AtomicU8::new(self.attempts()),
            backoff: Mutex::new(self.backoff()),
            max_pushback: self.max_pushback,
            max_replay_bytes: self.max_replay_bytes,
            unless_retried: self.unless_retried,
            is_retryable: self.is_retryable.clone(),
            budget: self.budget.clone(),
            events: self.events.clone(),
            retries: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
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

    /// The table in `docs/contract.md`, "Which failures are retried".
    #[test]
    fn transient_failures_are_retryable_and_permanent_ones_are_not() {
        let retryable = [
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
        for end in retryable {
            assert!(is_retryable_by_default(&end), "{end:?}");
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
            assert!(!is_retryable_by_default(&end), "{end:?}");
        }
    }
}
