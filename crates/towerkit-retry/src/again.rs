use std::{sync::Arc, time::Duration};

use towerkit_core::{CallEnd, Deadline, Event, InspectResult, ReplayRequest};

use crate::{FailedAttempt, GaveUp, RETRY_ATTEMPT, RetryReport, policy::Policy};

/// What a call takes along that may be tried again.
pub(crate) struct Again<S, P: ReplayRequest<Req>, Req> {
    pub(crate) inner: S,
    pub(crate) shared: Arc<Shared<P>>,
    pub(crate) exchange: P::Exchange,
    pub(crate) kept: P::Recorded,
    pub(crate) is_idempotent: bool,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) failed: Vec<FailedAttempt>,
}

pub(crate) struct Shared<P> {
    pub(crate) policy: Arc<Policy>,
    pub(crate) protocol: P,
}

/// A result that is worth another attempt, and the pause before it, unless there is none to be.
pub(crate) struct Trouble {
    end: CallEnd,
    pause: Result<Duration, GaveUp>,
}

impl<S, P: ReplayRequest<Req>, Req> Again<S, P, Req> {
    /// Looks for trouble in a result; `None` if it is to be given out as it is.
    pub(crate) fn trouble<T, E>(&self, result: &Result<T, E>) -> Option<Trouble>
    where
        P::Exchange: InspectResult<T, E>,
    {
        if !(self.is_idempotent || self.exchange.is_unsent(result)) {
            return None;
        }
        let end = self.exchange.inspect(result);
        let is_another = self.shared.policy.is_worth_another(&end);
        is_another.then(|| Trouble {
            end,
            pause: self.pause(result),
        })
    }

    fn pause<T, E>(&self, result: &Result<T, E>) -> Result<Duration, GaveUp>
    where
        P::Exchange: InspectResult<T, E>,
    {
        let policy = &self.shared.policy;
        if policy.unless_retried && self.exchange.header(result, RETRY_ATTEMPT).is_some() {
            return Err(GaveUp::Retried);
        }
        let retries = self.retries();
        if retries + 1 >= policy.attempts() {
            return Err(GaveUp::Attempts);
        }
        let wait = policy.pause(retries, self.exchange.pushback(result))?;
        match &self.deadline {
            Some(deadline) if deadline.remaining() <= wait => Err(GaveUp::Deadline),
            _ => Ok(wait),
        }
    }

    /// Makes the next attempt, if the request can be sent again and the budget allows.
    ///
    /// The future of the last one is to be dropped before: it may hold the request body.
    pub(crate) fn next(&mut self, trouble: Trouble) -> Result<(Duration, P::Attempt), GaveUp> {
        let Trouble { end, pause } = trouble;
        let next = pause.and_then(|wait| {
            let Shared { policy, protocol } = &*self.shared;
            let attempt = protocol.replay(&mut self.kept).ok_or(GaveUp::Body)?;
            policy.pay()?;
            Ok((wait, attempt))
        });
        match next {
            Ok((wait, attempt)) => Ok((wait, self.retry(&end, wait, attempt))),
            Err(reason) => {
                self.give_up(&end, reason);
                Err(reason)
            }
        }
    }

    fn retry(&mut self, end: &CallEnd, wait: Duration, mut attempt: P::Attempt) -> P::Attempt {
        self.failed.push(FailedAttempt::new(end, wait));
        let Shared { policy, protocol } = &*self.shared;
        let number = self.retries();
        protocol.set_attempt_header(&mut attempt, RETRY_ATTEMPT, &number.to_string());
        policy.emit(Event::Retried {
            name: policy.name.into(),
            number,
            outcome: end.outcome(),
            wait,
        });
        attempt
    }

    fn give_up(&self, end: &CallEnd, reason: GaveUp) {
        let policy = &self.shared.policy;
        policy.emit(Event::RetryGivenUp {
            name: policy.name.into(),
            retries: self.retries(),
            outcome: end.outcome(),
            reason: reason.as_str(),
        });
    }

    /// Tells in the response, where there is one, how the call went.
    #[inline(always)]
    pub(crate) fn report<T, E>(
        &mut self,
        mut result: Result<T, E>,
        gave_up: Option<GaveUp>,
    ) -> Result<T, E>
    where
        P::Exchange: InspectResult<T, E>,
    {
        if result.is_ok() && (gave_up.is_some() || !self.failed.is_empty()) {
            self.attach(&mut result, gave_up);
        }
        result
    }

    #[cold]
    #[inline(never)]
    fn attach<T, E>(&mut self, result: &mut Result<T, E>, gave_up: Option<GaveUp>)
    where
        P::Exchange: InspectResult<T, E>,
    {
        // A mark that is there already says more.
        let is_news = gave_up.is_some_and(|reason| reason != GaveUp::Retried);
        if is_news && self.shared.policy.unless_retried {
            let retries = self.retries().to_string();
            self.exchange.set_header(result, RETRY_ATTEMPT, &retries);
        }
        let failed = std::mem::take(&mut self.failed);
        self.exchange
            .insert_extension(result, RetryReport { failed, gave_up });
    }

    /// One for each attempt that failed: at most 254, as there are at most 255 attempts.
    fn retries(&self) -> u8 {
        self.failed.len() as u8
    }
}
