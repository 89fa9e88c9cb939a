use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, future::BoxFuture};
use towerkit_core::Rejection;

use crate::{
    common::Waiting,
    keys::Spot,
    lease::Spent,
    limiter::Limiter,
    place::{Flight, nanos},
    store::{Failure, Grant},
};

/// What a call waits for that found no token in the process: the answer of Redis, for no longer than the timeout.
///
/// All calls with one key wait for one answer. Each of them drives it, so that it comes though some are dropped. A call that gets
/// none of the tokens that the answer brings, because others were faster, asks for one of its own.
#[must_use = "futures do nothing unless polled"]
pub struct RedisWait {
    limiter: Arc<Limiter>,
    tag: u64,
    key: Option<Box<str>>,
    step: Step,
}

enum Step {
    Together {
        spot: Spot,
        number: u64,
        answer: Waiting<Result<Grant, Failure>>,
    },
    Alone {
        number: u64,
        answer: BoxFuture<'static, Result<Grant, Failure>>,
    },
}

impl Step {
    fn alone(limiter: &Limiter, key: Option<&str>) -> Self {
        let (number, answer) = limiter.send(key, 1);
        Self::Alone { number, answer }
    }
}

impl RedisWait {
    pub(crate) fn together(
        limiter: &Arc<Limiter>,
        spot: Spot,
        key: Option<&str>,
        flight: &Flight,
    ) -> Self {
        Self {
            limiter: limiter.clone(),
            tag: spot.tag(),
            key: key.map(Into::into),
            step: Step::Together {
                spot,
                number: flight.number,
                answer: flight.answer.wait(),
            },
        }
    }

    pub(crate) fn alone(limiter: &Arc<Limiter>, tag: u64, key: Option<&str>) -> Self {
        Self {
            limiter: limiter.clone(),
            tag,
            key: key.map(Into::into),
            step: Step::alone(limiter, key),
        }
    }

    /// Decides once the common answer is there; `None` if this call has to ask for itself.
    fn decide(
        &self,
        spot: Spot,
        number: u64,
        answered: Result<Grant, Failure>,
    ) -> Option<Result<(), Rejection>> {
        let limiter = &self.limiter;
        let now = limiter.now();
        limiter.landed(spot, number, answered, now);
        if limiter.keys.spend(spot, now) != Spent::Nothing {
            return Some(Ok(()));
        }
        match answered {
            Err(_) => Some(limiter.without_redis(self.tag, now)),
            Ok(grant) if !grant.wait.is_zero() => Some(Err(limiter.denied(nanos(grant.wait)))),
            Ok(_) => None,
        }
    }

    fn decide_alone(&self, number: u64, answered: Result<Grant, Failure>) -> Result<(), Rejection> {
        let limiter = &self.limiter;
        let now = limiter.now();
        limiter.heard(number, answered, now);
        limiter.deliver();
        match answered {
            Ok(Grant { tokens: 1.., .. }) => Ok(()),
            Ok(Grant { wait, .. }) => {
                limiter.deny(self.tag, now, wait);
                Err(limiter.denied(nanos(wait)))
            }
            Err(_) => limiter.without_redis(self.tag, now),
        }
    }
}

impl Future for RedisWait {
    type Output = Result<(), Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Step::Together {
            spot,
            number,
            answer,
        } = &mut self.step
        {
            let (spot, number) = (*spot, *number);
            let answered = ready!(answer.poll_unpin(cx));
            if let Some(decided) = self.decide(spot, number, answered) {
                return Poll::Ready(decided);
            }
            self.step = Step::alone(&self.limiter, self.key.as_deref());
        }
        let Step::Alone { number, answer } = &mut self.step else {
            unreachable!("together ends alone");
        };
        let number = *number;
        let answered = ready!(answer.poll_unpin(cx));
        Poll::Ready(self.decide_alone(number, answered))
    }
}

impl fmt::Debug for RedisWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisWait").finish_non_exhaustive()
    }
}
