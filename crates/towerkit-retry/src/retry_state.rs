use std::{sync::Arc, time::Duration};

use towerkit_core::{AttemptedInstances, CallEnd, Deadline, Event, InspectResult, ReplayRequest};

use crate::{FailedAttempt, GiveUpReason, RETRY_ATTEMPT, RetryReport, config::Config};

/// The state of a call that may be retried.
pub(crate) struct RetryState<S, P: ReplayRequest<Req>, Req> {
    pub(crate) inner: S,
    pub(crate) shared: Arc<Shared<P>>,
    pub(crate) exchange: P::Exchange,
    pub(crate) recorded: P::Recorded,
    pub(crate) is_idempotent: bool,
    pub(crate) deadline: Option<Deadline>,
    /// A load balancer further in sends an attempt to an instance that is not among them.
    pub(crate) attempted: AttemptedInstances,
    pub(crate) failed_attempts: Vec<FailedAttempt>,
}

/// The configuration and the protocol, behind one reference.
pub(crate) struct Shared<P> {
    pub(crate) config: Arc<Config>,
    pub(crate) protocol: P,
}

/// A retryable result, and the delay before the next attempt or the reason against one.
pub(crate) struct RetryableFailure {
    end: CallEnd,
    delay: Result<Duration, GiveUpReason>,
}

impl<S, P: ReplayRequest<Req>, Req> RetryState<S, P, Req> {
    /// Returns the failure if the result is retryable; `None` if the result is that of the call.
    pub(crate) fn retryable_failure<T, E>(&self, result: &Result<T, E>) -> Option<RetryableFailure>
    where
        P::Exchange: InspectResult<T, E>,
    {
        if !(self.is_idempotent || self.exchange.is_unsent(result)) {
            return None;
        }
        let end = self.exchange.inspect(result);
        let is_retryable = self.shared.config.is_retryable(&end);
        is_retryable.then(|| RetryableFailure {
            end,
            delay: self.delay(result),
        })
    }

    fn delay<T, E>(&self, result: &Result<T, E>) -> Result<Duration, GiveUpReason>
    where
        P::Exchange: InspectResult<T, E>,
    {
        let config = &self.shared.config;
        if config.unless_retried && self.exchange.header(result, RETRY_ATTEMPT).is_some() {
            return Err(GiveUpReason::AlreadyRetried);
        }
        let retries = self.retries();
        if retries + 1 >= config.attempts() {
            return Err(GiveUpReason::Attempts);
        }
        let delay = config.delay(retries, self.exchange.pushback(result))?;
        match &self.deadline {
            Some(deadline) if deadline.remaining() <= delay => Err(GiveUpReason::Deadline),
            _ => Ok(delay),
        }
    }

    /// Makes the request of the next attempt, if the request can be replayed and the budget allows it.
    ///
    /// The future of the last attempt has to be dropped before: it may hold the request body.
    pub(crate) fn next_attempt(
        &mut self,
        failure: RetryableFailure,
    ) -> Result<(Duration, Req), GiveUpReason> {
        let RetryableFailure { end, delay } = failure;
        let next = delay.and_then(|delay| {
            let Shared { config, protocol } = &*self.shared;
            let request = protocol.replay(&self.recorded).ok_or(GiveUpReason::Body)?;
            config.withdraw()?;
            Ok((delay, request))
        });
        match next {
            Ok((delay, mut request)) => {
                self.retry(&end, delay, &mut request);
                Ok((delay, request))
            }
            Err(reason) => {
                self.give_up(&end, reason);
                Err(reason)
            }
        }
    }

    fn retry(&mut self, end: &CallEnd, delay: Duration, request: &mut Req) {
        self.failed_attempts.push(FailedAttempt::new(end, delay));
        let Shared { config, protocol } = &*self.shared;
        let number = self.retries();
        protocol.set_header(request, RETRY_ATTEMPT, &number.to_string());
        config.emit(Event::Retried {
            name: config.name.clone(),
            number,
            outcome: end.outcome(),
            delay,
        });
    }

    fn give_up(&self, end: &CallEnd, reason: GiveUpReason) {
        let config = &self.shared.config;
        config.emit(Event::RetryGivenUp {
            name: config.name.clone(),
            retries: self.retries(),
            outcome: end.outcome(),
            reason: reason.as_str(),
        });
    }

    /// Attaches a [`RetryReport`] to the response, if there was a failed attempt.
    #[inline(always)]
    pub(crate) fn report<T, E>(
        &mut self,
        mut result: Result<T, E>,
        reason: Option<GiveUpReason>,
    ) -> Result<T, E>
    where
        P::Exchange: InspectResult<T, E>,
    {
        if result.is_ok() && (reason.is_some() || !self.failed_attempts.is_empty()) {
            self.attach_report(&mut result, reason);
        }
        result
    }

    #[cold]
    #[inline(never)]
    fn attach_report<T, E>(&mut self, result: &mut Result<T, E>, reason: Option<GiveUpReason>)
    where
        P::Exchange: InspectResult<T, E>,
    {
        // The header of an inner tier stays: it says more.
        let is_own = reason.is_some_and(|reason| reason != GiveUpReason::AlreadyRetried);
        if is_own && self.shared.config.unless_retried {
            let retries = self.retries().to_string();
            self.exchange.set_header(result, RETRY_ATTEMPT, &retries);
        }
        let report = RetryReport {
            failed_attempts: std::mem::take(&mut self.failed_attempts),
            give_up_reason: reason,
        };
        self.exchange.insert_extension(result, report);
    }

    /// Returns the number of failed attempts: at most 254, as there are at most 255 attempts.
    fn retries(&self) -> u8 {
        self.failed_attempts.len() as u8
    }
}
