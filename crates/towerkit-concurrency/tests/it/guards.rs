//! Guards without a service around them, beside their handles.

use std::ops::Deref;

use towerkit_concurrency::{
    AdaptiveThrottle, AdaptiveThrottleLayer, AdaptiveThrottlePolicy, ConcurrencyLimit,
    ConcurrencyLimitLayer, ConcurrencyLimitPolicy, Permit, SentCall, Turn,
};
use towerkit_core::{
    Admission, As, AsyncGuard, Call, End, Guard, IntoRole, Plain, Policy, Rejection, Shape,
};

/// A limit and its handle.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    policy: ConcurrencyLimitPolicy,
    handle: ConcurrencyLimit,
}

impl Limit {
    pub(crate) fn of<R>(layer: ConcurrencyLimitLayer<Plain, As<ConcurrencyLimitPolicy, R>>) -> Self
    where
        As<ConcurrencyLimitPolicy, R>: Shape,
    {
        Self {
            handle: layer.handle(),
            policy: layer.into_role().policy().clone(),
        }
    }
}

impl Deref for Limit {
    type Target = ConcurrencyLimit;

    fn deref(&self) -> &ConcurrencyLimit {
        &self.handle
    }
}

impl Policy for Limit {
    type Held = Permit;

    fn finish(&self, permit: Permit, end: &End) {
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
    handle: AdaptiveThrottle,
}

impl Throttle {
    pub(crate) fn of(layer: AdaptiveThrottleLayer) -> Self {
        Self {
            handle: layer.handle(),
            policy: layer.into_role().policy().clone(),
        }
    }
}

impl Deref for Throttle {
    type Target = AdaptiveThrottle;

    fn deref(&self) -> &AdaptiveThrottle {
        &self.handle
    }
}

impl Policy for Throttle {
    type Held = SentCall;

    fn head(&self, held: &mut SentCall, so_far: &End) {
        self.policy.head(held, so_far);
    }

    fn finish(&self, held: SentCall, end: &End) {
        self.policy.finish(held, end);
    }
}

impl Guard<()> for Throttle {
    fn admit(&self, call: &mut Call<'_, ()>) -> Result<SentCall, Rejection> {
        self.policy.admit(call)
    }
}
