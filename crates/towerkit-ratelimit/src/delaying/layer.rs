use std::time::Duration;

use towerkit_core::{
    AsAsyncGuardWith, AsyncPolicyService, Call, CallEnd, Clock, LayerState, Plain, PolicyLayer,
    StateHandle,
};

use super::DelayingRateLimitPolicy;
use crate::{
    Cost, InvalidSetting, One, Quota, Terms, fields::Fields, invalid::Problem, macros::layer_of,
};

/// Limits the rate of calls: one bucket for all callers, in which calls wait for their tokens, first come, first served.
pub struct DelayingRateLimitLayer<M: Terms = One, P = Plain> {
    policies: PolicyLayer<AsAsyncGuardWith<DelayingRateLimitPolicy<M>, <M as Terms>::NeedsEnd>, P>,
    /// The guard, as handles see it.
    state: LayerState<DelayingRateLimitPolicy>,
}

/// A service behind a [`DelayingRateLimitLayer`].
pub type DelayingRateLimit<S, M = One, P = Plain> =
    AsyncPolicyService<S, AsAsyncGuardWith<DelayingRateLimitPolicy<M>, <M as Terms>::NeedsEnd>, P>;

impl DelayingRateLimitLayer {
    /// Limits calls to `quota`, and lets each wait for up to `max_wait`. The bucket is full at the start.
    ///
    /// A call that would wait longer than that, or past its [deadline](towerkit_core::Deadline), is rejected at once.
    ///
    /// # Errors
    ///
    /// If `max_wait` is zero or more than a year.
    pub fn new(quota: Quota, max_wait: Duration) -> Result<Self, InvalidSetting> {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        if max_wait.is_zero() || max_wait > YEAR {
            return Err(InvalidSetting(Problem::MaxWait(max_wait)));
        }
        let limit = DelayingRateLimitPolicy::new(quota, max_wait);
        Ok(Self {
            state: LayerState::new(limit.clone()),
            policies: PolicyLayer::new(AsAsyncGuardWith::new(limit), Plain::default()),
        })
    }
}

impl<M: Terms, P> DelayingRateLimitLayer<M, P> {
    /// Lets no more than `calls` wait at a time; 10,000 by default. What comes then is rejected at once.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a million.
    pub fn queue(self, calls: usize) -> Result<Self, InvalidSetting> {
        if !(1..=1_000_000).contains(&calls) {
            return Err(InvalidSetting(Problem::Queue(calls)));
        }
        Ok(self.with(|limit| limit.patience.calls = calls))
    }

    /// Takes as many tokens as `cost` says, see [`RateLimitLayer::cost`](crate::RateLimitLayer::cost).
    #[must_use]
    pub fn cost<Req, F>(self, cost: F) -> DelayingRateLimitLayer<Cost<M, F>, P>
    where
        F: Fn(&Call<'_, Req>) -> u32 + 'static,
    {
        self.map(|meter| Cost::new(meter, cost))
    }

    /// Takes the tokens that `cost` says once a call is over, see
    /// [`RateLimitLayer::cost_at_end`](crate::RateLimitLayer::cost_at_end). Those who wait already are not put off by it.
    #[must_use]
    pub fn cost_at_end<F>(self, cost: F) -> DelayingRateLimitLayer<M::Followed, P>
    where
        F: Fn(&CallEnd) -> u32 + Send + Sync + 'static,
    {
        self.map(|meter| meter.followed(|after| after.set_cost(cost)))
    }

    /// Tells callers how they stand, see [`RateLimitLayer::fields`](crate::RateLimitLayer::fields).
    ///
    /// # Errors
    ///
    /// If the name is empty, or has anything but printable ASCII, or a quote or backslash.
    pub fn fields(
        self,
        policy: &'static str,
    ) -> Result<DelayingRateLimitLayer<M::Followed, P>, InvalidSetting> {
        let fields = Fields::new(policy)?;
        Ok(self.map(|meter| meter.followed(|after| after.set_fields(fields))))
    }

    /// Names this limit in rejections; `ratelimit` by default.
    #[must_use]
    pub fn name(self, name: &'static str) -> Self {
        self.with(|limit| limit.name = name)
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default. It must run like the time of tokio, by which calls wait.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|limit| limit.set_clock(clock))
    }

    /// Returns a handle on the bucket, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> DelayingRateLimitHandle {
        DelayingRateLimitHandle(self.state.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut DelayingRateLimitPolicy<M>)) -> Self {
        let limit = self.policies.policies_mut().policy_mut();
        set(limit);
        self.state.replace(limit.clone().map(|_| One));
        self
    }

    fn map<N: Terms>(self, turn: impl FnOnce(M) -> N) -> DelayingRateLimitLayer<N, P> {
        let turned = |limit: AsAsyncGuardWith<
            DelayingRateLimitPolicy<M>,
            <M as Terms>::NeedsEnd,
        >| { limit.policy().clone().map(turn) };
        DelayingRateLimitLayer {
            policies: self
                .policies
                .map(|limit| AsAsyncGuardWith::new(turned(limit))),
            state: self.state,
        }
    }
}

layer_of!(DelayingRateLimitLayer<M: Terms>, AsAsyncGuardWith<DelayingRateLimitPolicy<M>, <M as Terms>::NeedsEnd>);

/// Reads and changes a delaying rate limit while it runs.
#[derive(Debug, Clone)]
pub struct DelayingRateLimitHandle(StateHandle<DelayingRateLimitPolicy>);

impl DelayingRateLimitHandle {
    /// Returns how many calls would be admitted at this moment without a wait, each for one token.
    #[must_use]
    pub fn available(&self) -> u32 {
        let limit = self.0.get();
        limit.delayed.bucket().available(limit.clock.now())
    }

    /// Returns how many calls wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.get().delayed.waiting()
    }

    /// Returns the quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.0.get().delayed.bucket().quota()
    }

    /// Changes the quota, see [`RateLimitHandle::change_quota`](crate::RateLimitHandle::change_quota). Those who wait go on by the new one,
    /// from the tokens that they had to wait for still.
    pub fn change_quota(&self, quota: Quota) {
        let limit = self.0.get();
        limit.delayed.change_quota(quota, limit.clock.now());
    }
}
