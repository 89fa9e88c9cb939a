use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::{
    Admission, AsyncGuard, Call, Clock, End, Fields, Policy, ProtocolKind, Rejection, TypeBool,
};

use super::{
    Delay,
    delayed::{Delayed, Joined, Patience},
};
use crate::{
    Meter, One, Quota, Taken, Terms,
    guard::{annotate, refused},
    level::{Enough, Short},
    meter::Held,
};

/// The guard behind [`DelayingRateLimitLayer`](crate::DelayingRateLimitLayer): lets a call wait for its tokens.
#[derive(Clone)]
pub struct DelayingRateLimit<M = One> {
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
    pub(crate) meter: M,
    pub(crate) patience: Patience,
    pub(crate) delayed: Arc<Delayed>,
}

impl DelayingRateLimit {
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

impl<M> DelayingRateLimit<M> {
    /// Makes the bucket and the line anew, since the times in the old ones are those of the old clock.
    pub(crate) fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
        self.delayed = Arc::new(Delayed::new(self.delayed.bucket().quota()));
    }

    pub(crate) fn map<N>(self, turn: impl FnOnce(M) -> N) -> DelayingRateLimit<N> {
        DelayingRateLimit {
            name: self.name,
            clock: self.clock,
            meter: turn(self.meter),
            patience: self.patience,
            delayed: self.delayed,
        }
    }
}

impl<M: Terms> DelayingRateLimit<M> {
    #[cold]
    #[inline(never)]
    fn wait(
        &self,
        short: Short,
        now: u64,
        cost: u32,
        left: Option<Duration>,
        kind: ProtocolKind,
    ) -> Result<Admission<M::Held, Delay<M::Held>>, Rejection> {
        if short.enough() == Enough::Never {
            return Err(self.refused(&short, Enough::Never, kind));
        }
        let left = left.unwrap_or(Duration::MAX);
        match self.delayed.join(now, cost, self.patience, left) {
            Joined::Admitted => Ok(Admission::Now(self.held(now))),
            Joined::Waits(number) => {
                let delayed = self.delayed.clone();
                let delay = Delay::new(delayed, self.clock.clone(), number, cost);
                Ok(Admission::Later(delay))
            }
            Joined::Refused(wait) => Err(self.refused(&short, Enough::After(wait), kind)),
        }
    }

    fn held(&self, now: u64) -> M::Held {
        M::Held::of(|| self.delayed.taken(now))
    }

    fn refused(&self, short: &Short, enough: Enough, kind: ProtocolKind) -> Rejection {
        let advert = self.delayed.bucket().rate.advert();
        let after = self.meter.after();
        refused(self.name, after, &short.level, enough, advert, kind)
    }
}

impl<M: Terms> Policy for DelayingRateLimit<M> {
    type Held = M::Held;
    const FOLLOWS: bool = M::NeedsEnd::VALUE;

    #[inline(always)]
    fn annotate(&self, held: &M::Held, fields: &mut dyn Fields) {
        annotate(self.meter.after(), held, fields);
    }

    #[inline(always)]
    fn finish(&self, _held: M::Held, end: &End) {
        if M::NeedsEnd::VALUE {
            let cost = self.meter.after().cost(end);
            if cost > 0 {
                self.delayed.charge(end.now(&self.clock), cost);
            }
        }
    }
}

impl<Req, M: Meter<Req>> AsyncGuard<Req> for DelayingRateLimit<M> {
    type Wait = Delay<M::Held>;

    #[inline(always)]
    fn admit(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<M::Held, Delay<M::Held>>, Rejection> {
        let now = call.now(&self.clock);
        let cost = self.meter.cost(call);
        match self.delayed.bucket().take(now, cost) {
            Ok(level) => {
                let advert = || self.delayed.bucket().rate.advert();
                Ok(Admission::Now(M::Held::of(|| {
                    Taken::of_one(level, advert())
                })))
            }
            Err(short) => {
                let left = call.deadline().map(|deadline| deadline.left());
                self.wait(short, now, cost, left, call.protocol())
            }
        }
    }
}

impl<M> fmt::Debug for DelayingRateLimit<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayingRateLimit")
            .field("name", &self.name)
            .field("patience", &self.patience)
            .field("delayed", &self.delayed)
            .finish_non_exhaustive()
    }
}
