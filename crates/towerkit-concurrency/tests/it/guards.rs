//! Guards without a service around them, beside their handles.

use std::ops::Deref;

use towerkit_concurrency::{
    AdaptiveThrottleHandle, AdaptiveThrottleLayer, AdaptiveThrottlePolicy, ConcurrencyLimitHandle,
    ConcurrencyLimitLayer, ConcurrencyLimitPolicy, Permit, SentCall, Turn,
};
use towerkit_core::{
    Admission, AsyncGuard, Call, CallEnd, Guard, IntoPolicy, Plain, Policy, PolicyAs, PolicyShape,
    Rejection,
};

/// A limit and its handle.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    policy: ConcurrencyLimitPolicy,
    handle: ConcurrencyLimitHandle,
}

impl Limit {
    pub(crate) fn of<R>(
        layer: ConcurrencyLimitLayer<Plain, PolicyAs<ConcurrencyLimitPolicy, R>>,
    ) -> Self
    where
        PolicyAs<ConcurrencyLimitPolicy, R>: PolicyShape,
    {
        Self {
            handle: layer.handle(),
            policy: layer.into_policy().get().clone(),
        }
    }
}

impl Deref for Limit {
    type Target = ConcurrencyLimitHandle;

    fn deref(&self) -> &ConcurrencyLimitHandle {
        &self.handle
    }
}

impl Policy for Limit {
    type CallState = Permit;

    fn finish(&self, permit: Permit, end: &CallEnd) {
        self.policy.finish(permit, end);
    }
}

impl Guard<()> for Limit {
    fn admit(&self, call: &mut Call<'_, ()>) -> Result<Permit, Rejection> {
        Guard::admit(&self.policy, call)
    }
}

impl AsyncGuard<()> for Limit {
    type Wait = Turn;

    fn admit(&self, call: &mut Call<'_, ()>) -> Result<Admission<Permit, Turn>, Rejection> {
        AsyncGuard::admit(&self.policy, call)
    }
}

/// A throttle and its handle.
pub(crate) struct Throttle {
    policy: AdaptiveThrottlePolicy,
    handle: AdaptiveThrottleHandle,
}

impl Throttle {
    pub(crate) fn of(layer: AdaptiveThrottleLayer) -> Self {
        Self {
            handle: layer.handle(),
            policy: layer.into_policy().get().clone(),
        }
    }
}

impl Deref for Throttle {
    type Target = AdaptiveThrottleHandle;

    fn deref(&self) -> &AdaptiveThrottleHandle {
        &self.handle
    }
}

impl Policy for Throttle {
    type CallState = SentCall;

    fn on_response_head(&self, held: &mut SentCall, so_far: &CallEnd) {
        self.policy.on_response_head(held, so_far);
    }

    fn finish(&self, held: SentCall, end: &CallEnd) {
        self.policy.finish(held, end);
    }
}

impl Guard<()> for Throttle {
    fn admit(&self, call: &mut Call<'_, ()>) -> Result<SentCall, Rejection> {
        self.policy.admit(call)
    }
}
