use std::{fmt::Display, sync::Arc};

use towerkit_core::{Admission, AsyncGuard, Call, CallEnd, Policy, Rejection};
use towerkit_keyed::KeyExtractor;

use crate::{config::Config, future::RedisWait, lease::SpendResult, limiter::Limiter};

/// Takes a token of the call's key before the call; the policy of a [`RedisRateLimitLayer`](crate::RedisRateLimitLayer).
#[derive(Debug)]
pub struct RedisRateLimitPolicy<K> {
    pub(crate) limiter: Arc<Limiter>,
    key: Arc<K>,
}

impl<K> RedisRateLimitPolicy<K> {
    pub(crate) fn new(config: Config, key: K) -> Self {
        Self {
            limiter: Arc::new(Limiter::new(config)),
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

impl<Req, K: KeyExtractor<Req, Key: Display>> AsyncGuard<Req> for RedisRateLimitPolicy<K> {
    type Wait = RedisWait;

    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Admission<(), RedisWait>, Rejection> {
        let limiter = &self.limiter;
        let now = call.now(&limiter.config.clock);
        self.key.with_key(call, |key| {
            if K::REQUIRED && key.is_none() {
                return Err(limiter.missing_key());
            }
            let tag = limiter.slots.tag(key);
            // The text of the key is needed only if Redis is asked.
            let text = key.as_ref().map(|key| key as &dyn Display);
            if let Some(slot) = limiter.slots.find(tag) {
                match slot.value.spend(now, || slot.is_current()) {
                    SpendResult::Spent => return Ok(Admission::Now(())),
                    SpendResult::SpentLow => {
                        limiter.prefetch(slot, text, now);
                        return Ok(Admission::Now(()));
                    }
                    SpendResult::Empty => {}
                }
            }
            let admission = limiter.ask(tag, text, now)?;
            Ok(match admission {
                Admission::Now(()) => Admission::Now(()),
                Admission::Later(request) => Admission::Later(RedisWait::new(limiter, request)),
            })
        })
    }
}
