use std::{fmt, sync::Arc, time::Duration};

use tokio::time::timeout;
use towerkit_core::{
    Backpressure, Call, CallEnd, Clock, Guard, Headers, Policy, ProtocolKind, Rejection,
    RejectionReason, TypeBool, WakerSet,
};

use crate::{
    Meter, One, Quota, Taken, Terms,
    bucket::Bucket,
    level::{Enough, Level, Short},
    meter::{After, CallState},
};

/// The guard behind [`RateLimitLayer`](crate::RateLimitLayer): admits a call for its tokens.
#[derive(Clone)]
pub struct RateLimitPolicy<M = One> {
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
    pub(crate) meter: M,
    pub(crate) bucket: Arc<Bucket>,
    /// Whether services wait for a token before they are ready.
    pub(crate) holds_back: bool,
    /// Those that do.
    pub(crate) waiting: WakerSet,
}

impl RateLimitPolicy {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            name: "ratelimit",
            clock: Clock::default(),
            meter: One,
            bucket: Arc::new(Bucket::new(quota)),
            holds_back: false,
            waiting: WakerSet::new(),
        }
    }
}

impl<M> RateLimitPolicy<M> {
    /// Makes the bucket anew, since the times in the old one are those of the old clock.
    pub(crate) fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
        self.bucket = Arc::new(Bucket::new(self.bucket.quota()));
    }

    pub(crate) fn map<N>(self, turn: impl FnOnce(M) -> N) -> RateLimitPolicy<N> {
        RateLimitPolicy {
            name: self.name,
            clock: self.clock,
            meter: turn(self.meter),
            bucket: self.bucket,
            holds_back: self.holds_back,
            waiting: self.waiting,
        }
    }
}

impl<M> RateLimitPolicy<M> {
    /// Changes the quota, so that those who wait ask again when there will be a token.
    pub(crate) fn change_quota(&self, quota: Quota) {
        self.bucket.change_quota(quota, self.clock.now());
        self.waiting.wake_all();
    }

    #[cold]
    #[inline(never)]
    fn held_back(&self) -> Option<Backpressure> {
        self.next_token()?;
        let changed = self.waiting.notified();
        // Again, so that a change of the quota between the two is not missed.
        let wait = self.next_token()?;
        Some(Backpressure::new(async move {
            drop(timeout(wait, changed).await);
        }))
    }

    /// Returns when there will be a token, if there is none.
    fn next_token(&self) -> Option<Duration> {
        let is_ours = || true;
        let Bucket { word, rate, .. } = &*self.bucket;
        let short = rate.check(word, self.clock.now(), 1, is_ours).err()?;
        match short.enough() {
            Enough::After(wait) => Some(wait),
            Enough::Never => None,
        }
    }
}

impl<M: Terms> RateLimitPolicy<M> {
    #[cold]
    #[inline(never)]
    fn rejected(&self, short: Short, kind: ProtocolKind) -> Rejection {
        let advert = self.bucket.rate.advert();
        let after = self.meter.after();
        rejected(self.name, after, &short.level, short.enough(), advert, kind)
    }
}

impl<M: Terms> Policy for RateLimitPolicy<M> {
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
                self.bucket.charge(end.now(&self.clock), cost);
            }
        }
    }
}

impl<Req, M: Meter<Req>> Guard<Req> for RateLimitPolicy<M> {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<M::CallState, Rejection> {
        let now = call.now(&self.clock);
        match self.bucket.take(now, self.meter.cost(call)) {
            Ok(level) => {
                let advert = || self.bucket.rate.advert();
                Ok(M::CallState::of(|| Taken::of_one(level, advert())))
            }
            Err(short) => Err(self.rejected(short, call.protocol_kind())),
        }
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        if self.holds_back {
            self.held_back()
        } else {
            None
        }
    }
}

impl<M> fmt::Debug for RateLimitPolicy<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitPolicy")
            .field("name", &self.name)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

pub(crate) fn response_headers<H: CallState>(after: &After, held: &H, fields: &mut dyn Headers) {
    if let (Some(policy), Some(taken)) = (after.fields(), held.taken()) {
        policy.response_headers(taken, fields);
    }
}

/// Makes the rejection of a call for which there are not enough tokens.
pub(crate) fn rejected(
    name: &'static str,
    after: &After,
    level: &Level,
    enough: Enough,
    advert: [u64; 2],
    kind: ProtocolKind,
) -> Rejection {
    let rejection = match enough {
        Enough::After(wait) => {
            Rejection::new(RejectionReason::RateLimited, name).with_retry_after(wait)
        }
        Enough::Never => Rejection::new(RejectionReason::InsufficientCapacity, name),
    };
    match after.fields() {
        Some(fields) => fields.reject(rejection, level, advert, kind),
        None => rejection,
    }
}
