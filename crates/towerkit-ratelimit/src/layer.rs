use towerkit_core::{
    AsGuardWith, Call, CallEnd, Clock, LayerState, Plain, PolicyLayer, PolicyService, StateHandle,
};

use crate::{
    Cost, InvalidSetting, One, Quota, RateLimitPolicy, Terms, fields::Fields, macros::layer_of,
};

/// Limits the rate of calls: one bucket for all callers, rejecting.
pub struct RateLimitLayer<M: Terms = One, P = Plain> {
    policies: PolicyLayer<AsGuardWith<RateLimitPolicy<M>, <M as Terms>::NeedsEnd>, P>,
    /// The guard, as handles see it.
    state: LayerState<RateLimitPolicy>,
}

/// A service behind a [`RateLimitLayer`].
pub type RateLimit<S, M = One, P = Plain> =
    PolicyService<S, AsGuardWith<RateLimitPolicy<M>, <M as Terms>::NeedsEnd>, P>;

impl RateLimitLayer {
    /// Limits calls to `quota`. The bucket is full at the start.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let limit = RateLimitPolicy::new(quota);
        Self {
            state: LayerState::new(limit.clone()),
            policies: PolicyLayer::new(AsGuardWith::new(limit), Plain::default()),
        }
    }
}

impl<M: Terms, P> RateLimitLayer<M, P> {
    /// Takes as many tokens as `cost` says; 1 by default. A call that costs nothing is admitted, whatever the bucket holds.
    ///
    /// A call that costs more than the burst is rejected as
    /// [`InsufficientCapacity`](towerkit_core::RejectionReason::InsufficientCapacity), since no wait would help it.
    #[must_use]
    pub fn cost<Req, F>(self, cost: F) -> RateLimitLayer<Cost<M, F>, P>
    where
        F: Fn(&Call<'_, Req>) -> u32 + 'static,
    {
        self.map(|meter| Cost::new(meter, cost))
    }

    /// Takes the tokens that `cost` says once a call is over, besides those that were taken at its start; none by default.
    ///
    /// For what is known only then, such as [`CallEnd::bytes`]. It may leave the bucket in debt, at most by another burst, and calls are
    /// rejected until the debt is paid. A call that panicked is not asked for.
    #[must_use]
    pub fn cost_at_end<F>(self, cost: F) -> RateLimitLayer<M::Followed, P>
    where
        F: Fn(&CallEnd) -> u32 + Send + Sync + 'static,
    {
        self.map(|meter| meter.followed(|after| after.set_cost(cost)))
    }

    /// Tells callers how they stand, in the fields `RateLimitPolicy-Policy` and `RateLimitPolicy` of admitted and rejected answers, where the
    /// protocol has fields.
    ///
    /// `policy` is the name that the fields give this limit. Source: draft-ietf-httpapi-ratelimit-headers-11. A rejection over gRPC
    /// has none, since its head is all trailers.
    ///
    /// # Errors
    ///
    /// If the name is empty, or has anything but printable ASCII, or a quote or backslash.
    pub fn fields(
        self,
        policy: &'static str,
    ) -> Result<RateLimitLayer<M::Followed, P>, InvalidSetting> {
        let fields = Fields::new(policy)?;
        Ok(self.map(|meter| meter.followed(|after| after.set_fields(fields))))
    }

    fn map<N: Terms>(self, turn: impl FnOnce(M) -> N) -> RateLimitLayer<N, P> {
        RateLimitLayer {
            policies: self
                .policies
                .map(|limit| AsGuardWith::new(limit.policy().clone().map(turn))),
            state: self.state,
        }
    }

    /// Makes services wait in `poll_ready` while the bucket is empty, instead of rejecting calls; for use under a load balancer.
    ///
    /// A balancer goes by the calls in flight. An instance that rejects at once has none, so that it looks idle and draws calls. With
    /// this option it is not ready, and the balancer takes another instance. It is ready again when there is a token.
    ///
    /// Readiness reserves nothing: of several clones that are ready for one token, the first to be called gets it, and the others are
    /// rejected. Without a balancer outside, callers wait for as long as the bucket is empty.
    ///
    /// The wait uses tokio's timer and is polled in a runtime that has one. It looks at the [`clock`](Self::clock) when the timer
    /// fires: a clock that is moved by hand is noticed then, or when the quota is changed.
    #[must_use]
    pub fn backpressure(self) -> Self {
        self.with(|limit| limit.holds_back = true)
    }

    /// Names this limit in rejections; `ratelimit` by default.
    #[must_use]
    pub fn name(self, name: &'static str) -> Self {
        self.with(|limit| limit.name = name)
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|limit| limit.set_clock(clock))
    }

    /// Returns a handle on the bucket, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> RateLimitHandle {
        RateLimitHandle(self.state.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut RateLimitPolicy<M>)) -> Self {
        let limit = self.policies.policies_mut().policy_mut();
        set(limit);
        self.state.replace(limit.clone().map(|_| One));
        self
    }
}

layer_of!(RateLimitLayer<M: Terms>, AsGuardWith<RateLimitPolicy<M>, <M as Terms>::NeedsEnd>);

/// Reads and changes a rate limit while it runs.
#[derive(Debug, Clone)]
pub struct RateLimitHandle(StateHandle<RateLimitPolicy>);

impl RateLimitHandle {
    /// Returns how many calls would be admitted at this moment, each for one token.
    #[must_use]
    pub fn available(&self) -> u32 {
        let limit = self.0.get();
        limit.bucket.available(limit.clock.now())
    }

    /// Returns the quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.0.get().bucket.quota()
    }

    /// Changes the quota.
    ///
    /// Every call is judged by one quota, which held while the call was made: by the old one or by the new one. The tokens in the
    /// bucket stay, up to the new burst; so does a debt.
    pub fn change_quota(&self, quota: Quota) {
        self.0.get().change_quota(quota);
    }
}
