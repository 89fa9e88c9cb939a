use std::{fmt, sync::Arc, time::Duration};

use tokio::time::timeout;
use towerkit_core::{
    Backpressure, Call, Clock, End, Fields, Guard, Policy, ProtocolKind, Reason, Rejection,
    TypeBool, WakerSet,
};

use crate::{
    Meter, One, Quota, Taken, Terms,
    bucket::Bucket,
    level::{Enough, Level, Short},
    meter::{After, Held},
};

/// The guard behind [`RateLimitLayer`](crate::RateLimitLayer): admits a call for its tokens.
#[derive(Clone)]
pub struct RateLimit<M = One> {
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
    pub(crate) meter: M,
    pub(crate) bucket: Arc<Bucket>,
    /// Whether services wait for a token before they are ready.
    pub(crate) holds_back: bool,
    /// Those that do.
    pub(crate) waiting: WakerSet,
}

impl RateLimit {
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

impl<M> RateLimit<M> {
    /// Makes the bucket anew, since the times in the old one are those of the old clock.
    pub(crate) fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
        self.bucket = Arc::new(Bucket::new(self.bucket.quota()));
    }

    pub(crate) fn map<N>(self, turn: impl FnOnce(M) -> N) -> RateLimit<N> {
        RateLimit {
            name: self.name,
            clock: self.clock,
            meter: turn(self.meter),
            bucket: self.bucket,
            holds_back: self.holds_back,
            waiting: self.waiting,
        }
    }
}

impl<M> RateLimit<M> {
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

impl<M: Terms> RateLimit<M> {
    #[cold]
    #[inline(never)]
    fn refused(&self, short: Short, kind: ProtocolKind) -> Rejection {
        let advert = self.bucket.rate.advert();
        let after = self.meter.after();
        refused(self.name, after, &short.level, short.enough(), advert, kind)
    }
}

impl<M: Terms> Policy for RateLimit<M> {
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
                self.bucket.charge(end.now(&self.clock), cost);
            }
        }
    }
}

impl<Req, M: Meter<Req>> Guard<Req> for RateLimit<M> {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<M::Held, Rejection> {
        let now = call.now(&self.clock);
        match self.bucket.take(now, self.meter.cost(call)) {
            Ok(level) => {
                let advert = || self.bucket.rate.advert();
                Ok(M::Held::of(|| Taken::of_one(level, advert())))
            }
            Err(short) => Err(self.refused(short, call.protocol())),
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

impl<M> fmt::Debug for RateLimit<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("name", &self.name)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

pub(crate) fn annotate<H: Held>(after: &After, held: &H, fields: &mut dyn Fields) {
    if let (Some(policy), Some(taken)) = (after.fields(), held.taken()) {
        policy.annotate(taken, fields);
    }
}

/// Makes the refusal of a call for which there are not enough tokens.
pub(crate) fn refused(
    name: &'static str,
    after: &After,
    level: &Level,
    enough: Enough,
    advert: [u64; 2],
    kind: ProtocolKind,
) -> Rejection {
    let rejection = match enough {
        Enough::After(wait) => Rejection::new(Reason::RateLimited, name).retry_after(wait),
        Enough::Never => Rejection::new(Reason::InsufficientCapacity, name),
    };
    match after.fields() {
        Some(fields) => fields.refuse(rejection, level, advert, kind),
        None => rejection,
    }
}
