use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::{
    Admission, AsyncGuard, Call, CallEnd, Clock, Headers, Policy, ProtocolKind, Rejection, TypeBool,
};

use super::{
    Delay,
    delayed::{Delayed, Joined, Patience},
};
use crate::{
    Meter, One, Quota, Taken, Terms,
    guard::{rejected, response_headers},
    level::{Enough, Short},
    meter::CallState,
};

/// The guard behind [`DelayingRateLimitLayer`](crate::DelayingRateLimitLayer): lets a call wait for its tokens.
#[derive(Clone)]
pub struct DelayingRateLimitPolicy<M = One> {
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
    pub(crate) meter: M,
    pub(crate) patience: Patience,
    pub(crate) delayed: Arc<Delayed>,
}

impl DelayingRateLimitPolicy {
    pub(crate) fn new(quota: Quota, longest: Duration) -> Self {
        Self {
            name: "ratelimit",
            clock: Clock::default(),
            meter: One,
            patience: Patience {
                longest,
                calls: 10_000,
            },
            delayed: Arc::new(Delayed::new(quota)),
        }
    }
}

impl<M> DelayingRateLimitPolicy<M> {
    /// Makes the bucket and the line anew, since the times in the old ones are those of the old clock.
    pub(crate) fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
        self.delayed = Arc::new(Delayed::new(self.delayed.bucket().quota()));
    }

    pub(crate) fn map<N>(self, turn: impl FnOnce(M) -> N) -> DelayingRateLimitPolicy<N> {
        DelayingRateLimitPolicy {
            name: self.name,
            clock: self.clock,
            meter: turn(self.meter),
            patience: self.patience,
            delayed: self.delayed,
        }
    }
}

impl<M: Terms> DelayingRateLimitPolicy<M> {
    #[cold]
    #[inline(never)]
    fn wait(
        &self,
        short: Short,
        now: u64,
        cost: u32,
        left: Option<Duration>,
        kind: ProtocolKind,
    ) -> Result<Admission<M::CallState, Delay<M::CallState>>, Rejection> {
        if short.enough() == Enough::Never {
            return Err(self.rejected(&short, Enough::Never, kind));
        }
        let left = left.unwrap_or(Duration::MAX);
        match self.delayed.join(now, cost, self.patience, left) {
            Joined::Admitted => Ok(Admission::Now(self.held(now))),
            Joined::Waits(number) => {
                let delayed = self.delayed.clone();
                let delay = Delay::new(delayed, self.clock.clone(), number, cost);
                Ok(Admission::Later(delay))
            }
            Joined::Rejected(wait) => Err(self.rejected(&short, Enough::After(wait), kind)),
        }
    }

    fn held(&self, now: u64) -> M::CallState {
        M::CallState::of(|| self.delayed.taken(now))
    }

    fn rejected(&self, short: &Short, enough: Enough, kind: ProtocolKind) -> Rejection {
        let advert = self.delayed.bucket().rate.advert();
        let after = self.meter.after();
        rejected(self.name, after, &short.level, enough, advert, kind)
    }
}

impl<M: Terms> Policy for DelayingRateLimitPolicy<M> {
    type CallState = M::CallState;
    const NEEDS_END: bool = M::NeedsEnd::VALUE;

    #[inline(always)]
    fn response_headers(&self, held: &M::CallState, fields: &mut dyn Headers) {
        response_headers(self.meter.after(), held, fields);
    }

    #[inline(always)]
    fn finish(&self, _held: M::CallState, end: &CallEnd) {
        if M::NeedsEnd::VALUE {
            let cost = self.meter.after().cost(end);
            if cost > 0 {
                self.delayed.charge(end.now(&self.clock), cost);
            }
        }
    }
}

impl<Req, M: Meter<Req>> AsyncGuard<Req> for DelayingRateLimitPolicy<M> {
    type Wait = Delay<M::CallState>;

    #[inline(always)]
    fn admit(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<M::CallState, Delay<M::CallState>>, Rejection> {
        let now = call.now(&self.clock);
        let cost = self.meter.cost(call);
        match self.delayed.bucket().take(now, cost) {
            Ok(level) => {
                let advert = || self.delayed.bucket().rate.advert();
                Ok(Admission::Now(M::CallState::of(|| {
                    Taken::of_one(level, advert())
                })))
            }
            Err(short) => {
                let left = call.deadline().map(|deadline| deadline.left());
                self.wait(short, now, cost, left, call.protocol_kind())
            }
        }
    }
}

impl<M> fmt::Debug for DelayingRateLimitPolicy<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayingRateLimitPolicy")
            .field("name", &self.name)
            .field("patience", &self.patience)
            .field("delayed", &self.delayed)
            .finish_non_exhaustive()
    }
}
