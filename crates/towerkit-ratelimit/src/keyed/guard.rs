use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use towerkit_core::{
    Call, CallEnd, Guard, Headers, Policy, ProtocolKind, Rejection, RejectionReason, TypeBool,
};

use super::{
    KeyOf, Tags,
    buckets::{Buckets, Denied},
    settings::Settings,
};
use crate::{
    Meter, Taken, Terms,
    guard::{rejected, response_headers},
    meter::{After, CallState},
};

/// The guard behind [`KeyedRateLimitLayer`](crate::KeyedRateLimitLayer): admits a call for tokens of its key.
#[derive(Clone)]
pub struct KeyedRateLimitPolicy<M> {
    pub(crate) meter: M,
    pub(crate) settings: Arc<Settings>,
    /// Made with the first call, or the first handle: before, the settings may change.
    buckets: Arc<OnceLock<Buckets>>,
}

impl<M> KeyedRateLimitPolicy<M> {
    pub(crate) fn new(settings: Settings, meter: M) -> Self {
        Self {
            meter,
            settings: Arc::new(settings),
            buckets: Arc::default(),
        }
    }

    pub(crate) fn map<N>(self, turn: impl FnOnce(M) -> N) -> KeyedRateLimitPolicy<N> {
        KeyedRateLimitPolicy {
            meter: turn(self.meter),
            settings: self.settings,
            buckets: self.buckets,
        }
    }

    /// Changes the settings. What was made by the old ones is left to those who have it, but for the changes that handles made.
    pub(crate) fn set(&mut self, set: impl FnOnce(&mut Settings)) {
        let settings = Arc::make_mut(&mut self.settings);
        if let Some(buckets) = self.buckets.get() {
            buckets.save(settings);
        }
        set(settings);
        self.buckets = Arc::default();
    }

    #[inline(always)]
    pub(crate) fn buckets(&self) -> &Buckets {
        match self.buckets.get() {
            Some(buckets) => buckets,
            None => self.make(),
        }
    }

    #[cold]
    fn make(&self) -> &Buckets {
        self.buckets.get_or_init(|| Buckets::new(&self.settings))
    }
}

impl<M: Terms> Policy for KeyedRateLimitPolicy<M> {
    type CallState = M::CallState;
    const NEEDS_END: bool = M::NeedsEnd::VALUE;

    #[inline(always)]
    fn response_headers(&self, held: &M::CallState, fields: &mut dyn Headers) {
        response_headers(self.meter.after(), held, fields);
    }

    #[inline(always)]
    fn finish(&self, held: M::CallState, end: &CallEnd) {
        if let Some(taken) = held.taken() {
            let cost = self.meter.after().cost(end);
            if cost > 0 {
                let now = end.now(&self.settings.clock);
                self.buckets().charge(taken.source, now, cost);
            }
        }
    }
}

impl<Req, M: Meter<Req> + KeyOf<Req>> Guard<Req> for KeyedRateLimitPolicy<M> {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<M::CallState, Rejection> {
        let now = call.now(&self.settings.clock);
        let buckets = self.buckets();
        let Some(tag) = self.meter.tag(call, Tags(buckets)) else {
            return Err(self.reject_nameless(now));
        };
        let source = buckets.source(tag, self.meter.class(call));
        let cost = self.meter.cost(call);
        match buckets.take(source, now, cost, || self.settings.clock.now()) {
            Ok((level, advert)) => Ok(M::CallState::of(|| Taken {
                level,
                advert,
                source,
            })),
            Err(denied) => Err(self.reject(denied, call.protocol_kind())),
        }
    }
}

impl<M: Terms> KeyedRateLimitPolicy<M> {
    #[cold]
    #[inline(never)]
    fn reject_nameless(&self, now: u64) -> Rejection {
        self.buckets().pressure.nameless(now);
        Rejection::new(RejectionReason::Unavailable, self.settings.name)
    }

    #[cold]
    #[inline(never)]
    fn reject(&self, denied: Denied, kind: ProtocolKind) -> Rejection {
        let name = self.settings.name;
        match denied {
            Denied::Key(short, advert) => {
                let after = self.meter.after();
                rejected(name, after, &short.level, short.enough(), advert, kind)
            }
            // How the limit for all stands is not the caller's business.
            Denied::Total(short) => {
                let after = &After::NOTHING;
                rejected(name, after, &short.level, short.enough(), [0; 2], kind)
            }
            Denied::NoRoom => Rejection::new(RejectionReason::Overloaded, name),
        }
    }
}

impl<M> fmt::Debug for KeyedRateLimitPolicy<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimitPolicy")
            .field("name", &self.settings.name)
            .field("quotas", &self.settings.quotas)
            .finish_non_exhaustive()
    }
}
