use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use towerkit_core::{Call, End, Fields, Guard, Policy, ProtocolKind, Reason, Rejection, TypeBool};

use super::{
    KeyOf, Tags,
    buckets::{Buckets, Denied},
    settings::Settings,
};
use crate::{
    Meter, Taken, Terms,
    guard::{annotate, refused},
    meter::{After, Held},
};

/// The guard behind [`KeyedRateLimitLayer`](crate::KeyedRateLimitLayer): admits a call for tokens of its key.
#[derive(Clone)]
pub struct KeyedRateLimit<M> {
    pub(crate) meter: M,
    pub(crate) settings: Arc<Settings>,
    /// Made with the first call, or the first handle: before, the settings may change.
    buckets: Arc<OnceLock<Buckets>>,
}

impl<M> KeyedRateLimit<M> {
    pub(crate) fn new(settings: Settings, meter: M) -> Self {
        Self {
            meter,
            settings: Arc::new(settings),
            buckets: Arc::default(),
        }
    }

    pub(crate) fn map<N>(self, turn: impl FnOnce(M) -> N) -> KeyedRateLimit<N> {
        KeyedRateLimit {
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

impl<M: Terms> Policy for KeyedRateLimit<M> {
    type Held = M::Held;
    const FOLLOWS: bool = M::NeedsEnd::VALUE;

    #[inline(always)]
    fn annotate(&self, held: &M::Held, fields: &mut dyn Fields) {
        annotate(self.meter.after(), held, fields);
    }

    #[inline(always)]
    fn finish(&self, held: M::Held, end: &End) {
        if let Some(taken) = held.taken() {
            let cost = self.meter.after().cost(end);
            if cost > 0 {
                let now = end.now(&self.settings.clock);
                self.buckets().charge(taken.source, now, cost);
            }
        }
    }
}

impl<Req, M: Meter<Req> + KeyOf<Req>> Guard<Req> for KeyedRateLimit<M> {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<M::Held, Rejection> {
        let now = call.now(&self.settings.clock);
        let buckets = self.buckets();
        let Some(tag) = self.meter.tag(call, Tags(buckets)) else {
            return Err(self.refuse_nameless(now));
        };
        let source = buckets.source(tag, self.meter.class(call));
        let cost = self.meter.cost(call);
        match buckets.take(source, now, cost, || self.settings.clock.now()) {
            Ok((level, advert)) => Ok(M::Held::of(|| Taken {
                level,
                advert,
                source,
            })),
            Err(denied) => Err(self.refuse(denied, call.protocol())),
        }
    }
}

impl<M: Terms> KeyedRateLimit<M> {
    #[cold]
    #[inline(never)]
    fn refuse_nameless(&self, now: u64) -> Rejection {
        self.buckets().pressure.nameless(now);
        Rejection::new(Reason::Unavailable, self.settings.name)
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, denied: Denied, kind: ProtocolKind) -> Rejection {
        let name = self.settings.name;
        match denied {
            Denied::Key(short, advert) => {
                let after = self.meter.after();
                refused(name, after, &short.level, short.enough(), advert, kind)
            }
            // How the limit for all stands is not the caller's business.
            Denied::Total(short) => {
                let after = &After::NOTHING;
                refused(name, after, &short.level, short.enough(), [0; 2], kind)
            }
            Denied::NoRoom => Rejection::new(Reason::Overloaded, name),
        }
    }
}

impl<M> fmt::Debug for KeyedRateLimit<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimit")
            .field("name", &self.settings.name)
            .field("quotas", &self.settings.quotas)
            .finish_non_exhaustive()
    }
}
