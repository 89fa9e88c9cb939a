//! Guards without a service, with their handles.

use towerkit_concurrency::{
    AcquireFuture, AdaptiveThrottleHandle, AdaptiveThrottleLayer, AdaptiveThrottlePolicy,
    AdaptiveThrottleSnapshot, ConcurrencyLimitHandle, ConcurrencyLimitLayer,
    ConcurrencyLimitPolicy, Permit, SentCall,
};
use towerkit_core::{
    Admission, AsyncGuard, Call, CallEnd, Guard, IntoPolicy, Plain, Policy, PolicyAs, PolicyShape,
    Rejection,
};

/// A [`ConcurrencyLimitPolicy`] and its handle.
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

impl Limit {
    pub(crate) fn limit(&self) -> u32 {
        self.handle.snapshot().limit
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.handle.snapshot().in_flight
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.handle.snapshot().waiting
    }

    pub(crate) fn rejected(&self) -> u64 {
        self.handle.snapshot().rejected
    }

    pub(crate) fn set_limit(&self, limit: u32) {
        self.handle.set_limit(limit).unwrap();
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
    type Wait = AcquireFuture;

    fn admit(
        &self,
        call: &mut Call<'_, ()>,
    ) -> Result<Admission<Permit, AcquireFuture>, Rejection> {
        AsyncGuard::admit(&self.policy, call)
    }
}

/// An [`AdaptiveThrottlePolicy`] and its handle.
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

impl Throttle {
    pub(crate) fn snapshot(&self) -> AdaptiveThrottleSnapshot {
        self.handle.snapshot()
    }

    /// Returns the calls in the window, and the accepted ones.
    pub(crate) fn counts(&self) -> (u32, u32) {
        let snapshot = self.snapshot();
        (snapshot.calls, snapshot.accepted)
    }
}

impl Policy for Throttle {
    type CallState = SentCall;

    fn on_response_head(&self, sent: &mut SentCall, so_far: &CallEnd) {
        self.policy.on_response_head(sent, so_far);
    }

    fn finish(&self, sent: SentCall, end: &CallEnd) {
        self.policy.finish(sent, end);
    }
}

impl Guard<()> for Throttle {
    fn admit(&self, call: &mut Call<'_, ()>) -> Result<SentCall, Rejection> {
        self.policy.admit(call)
    }
}
