use std::sync::Arc;

use towerkit_core::{Admission, AsyncGuard, Call, CallEnd, Policy, Rejection};

use crate::{KeyOf, RedisWait, lease::Spent, limiter::Limiter, settings::Settings};

/// The guard behind [`RedisRateLimitLayer`](crate::RedisRateLimitLayer): admits a call for a token of its key.
#[derive(Debug)]
pub struct RedisRateLimitPolicy<K> {
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) key: Arc<K>,
}

impl<K> RedisRateLimitPolicy<K> {
    pub(crate) fn new(settings: Settings, key: K) -> Self {
        Self {
            limiter: Arc::new(Limiter::new(settings)),
            key: Arc::new(key),
        }
    }
}

impl<K> Clone for RedisRateLimitPolicy<K> {
    fn clone(&self) -> Self {
        Self {
            limiter: self.limiter.clone(),
            key: self.key.clone(),
        }
    }
}

impl<K> Policy for RedisRateLimitPolicy<K> {
    type CallState = ();
    const NEEDS_END: bool = false;

    #[inline(always)]
    fn finish(&self, (): (), _end: &CallEnd) {}
}

impl<Req, K: KeyOf<Req>> AsyncGuard<Req> for RedisRateLimitPolicy<K> {
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
