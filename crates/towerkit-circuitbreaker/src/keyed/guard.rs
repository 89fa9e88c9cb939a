use std::{fmt, sync::Arc};

use towerkit_core::{Call, CallEnd, Guard, Policy, Rejection};

use super::{Key, breakers::Breakers};
use crate::calls;

/// The guard behind a [`KeyedCircuitBreakerLayer`](crate::KeyedCircuitBreakerLayer): asks the breaker of the call's key.
pub struct KeyedCircuitBreakerPolicy<F> {
    pub(crate) key: Arc<F>,
    pub(crate) breakers: Breakers,
}

/// What a call with a breaker holds: where that breaker is, and what it gave.
#[derive(Debug, Clone, Copy)]
pub struct CallState {
    slot: u32,
    held: calls::CallState,
}

impl<F> Policy for KeyedCircuitBreakerPolicy<F> {
    type CallState = Option<CallState>;

    #[inline(always)]
    fn on_response_head(&self, held: &mut Option<CallState>, so_far: &CallEnd) {
        if let Some(CallState { slot, held }) = held {
            self.breakers.calls(*slot).head(held, so_far);
        }
    }

    #[inline(always)]
    fn finish(&self, held: Option<CallState>, end: &CallEnd) {
        if let Some(CallState { slot, held }) = held {
            self.breakers.calls(slot).finish(held, end);
        }
    }
}

impl<Req, F> Guard<Req> for KeyedCircuitBreakerPolicy<F>
where
    F: Fn(&Call<'_, Req>) -> Option<Key>,
{
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Option<CallState>, Rejection> {
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
                return admitted.map(|held| Some(CallState { slot, held }));
            }
            // The key went, or was about to, while its breaker was asked.
            if let Ok(held) = admitted {
                calls.give_back(held);
            }
        }
    }
}

impl<F> Clone for KeyedCircuitBreakerPolicy<F> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            breakers: self.breakers.clone(),
        }
    }
}

impl<F> fmt::Debug for KeyedCircuitBreakerPolicy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.breakers.fmt(f)
    }
}
