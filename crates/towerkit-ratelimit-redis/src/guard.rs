use std::sync::Arc;

use towerkit_core::{Admission, AsyncGuard, Call, End, Policy, Rejection};

use crate::{KeyOf, RedisWait, lease::Spent, limiter::Limiter, settings::Settings};

/// The guard behind [`RedisRateLimitLayer`](crate::RedisRateLimitLayer): admits a call for a token of its key.
#[derive(Debug)]
pub struct RedisRateLimit<K> {
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) key: Arc<K>,
}

impl<K> RedisRateLimit<K> {
    pub(crate) fn new(settings: Settings, key: K) -> Self {
        Self {
            limiter: Arc::new(Limiter::new(settings)),
            key: Arc::new(key),
        }
    }
}

impl<K> Clone for RedisRateLimit<K> {
    fn clone(&self) -> Self {
        Self {
            limiter: self.limiter.clone(),
            key: self.key.clone(),
        }
    }
}

impl<K> Policy for RedisRateLimit<K> {
    type Held = ();
    const FOLLOWS: bool = false;

    #[inline(always)]
    fn finish(&self, (): (), _end: &End) {}
}

impl<Req, K: KeyOf<Req>> AsyncGuard<Req> for RedisRateLimit<K> {
    type Wait = RedisWait;

    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Admission<(), RedisWait>, Rejection> {
        let limiter = &self.limiter;
        let now = call.now(&limiter.settings.clock);
        let key = self.key.key(call);
        let tag = limiter.keys.tag(key);
        if let Some(spot) = limiter.keys.find(tag) {
            match limiter.keys.spend(spot, now) {
                Spent::Token => return Ok(Admission::Now(())),
                Spent::Last => {
                    limiter.prefetch(spot, key, now);
                    return Ok(Admission::Now(()));
                }
                Spent::Nothing => {}
            }
        }
        limiter.ask(tag, key, now)
    }
}
