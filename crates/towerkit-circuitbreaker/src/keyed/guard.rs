use std::{fmt, sync::Arc};

use towerkit_core::{Call, End, Guard, Policy, Rejection};

use super::{Key, breakers::Breakers};
use crate::calls;

/// The guard behind a [`KeyedCircuitBreakerLayer`](crate::KeyedCircuitBreakerLayer): asks the breaker of the call's key.
pub struct KeyedCircuitBreaker<F> {
    pub(crate) key: Arc<F>,
    pub(crate) breakers: Breakers,
}

/// What a call with a breaker holds: where that breaker is, and what it gave.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    slot: u32,
    held: calls::Held,
}

impl<F> Policy for KeyedCircuitBreaker<F> {
    type Held = Option<Held>;

    #[inline(always)]
    fn head(&self, held: &mut Option<Held>, so_far: &End) {
        if let Some(Held { slot, held }) = held {
            self.breakers.calls(*slot).head(held, so_far);
        }
    }

    #[inline(always)]
    fn finish(&self, held: Option<Held>, end: &End) {
        if let Some(Held { slot, held }) = held {
            self.breakers.calls(slot).finish(held, end);
        }
    }
}

impl<Req, F> Guard<Req> for KeyedCircuitBreaker<F>
where
    F: Fn(&Call<'_, Req>) -> Option<Key>,
{
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Option<Held>, Rejection> {
        let Some(key) = (self.key)(call) else {
            return Ok(None);
        };
        loop {
            let Some(slot) = self.breakers.table().slot(key) else {
                return Ok(None);
            };
            let calls = self.breakers.calls(slot);
            let admitted = calls.admit(call);
            if self.breakers.table().is_of(slot, key) {
                return admitted.map(|held| Some(Held { slot, held }));
            }
            // The key went, or was about to, while its breaker was asked.
            if let Ok(held) = admitted {
                calls.give_back(held);
            }
        }
    }
}

impl<F> Clone for KeyedCircuitBreaker<F> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            breakers: self.breakers.clone(),
        }
    }
}

impl<F> fmt::Debug for KeyedCircuitBreaker<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.breakers.fmt(f)
    }
}
