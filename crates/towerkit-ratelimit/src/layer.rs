use towerkit_core::{
    AsGuard, Call, CallEnd, Clock, ConfigError, LayerState, Plain, PolicyLayer, PolicyService, True,
};
use towerkit_keyed::NoKey;

use crate::{
    AnyLimitOptions, LimitOptions, NeedsEnd, Quota, RateLimitHandle, RateLimitPolicy,
    guard::RateLimitState, headers::RateLimitHeaders, macros::limit_layer,
};

/// Limits the rate of all calls together, and rejects calls over the limit.
///
/// The [crate documentation](crate) shows an example.
pub struct RateLimitLayer<O: AnyLimitOptions = LimitOptions, P = Plain> {
    policies: PolicyLayer<AsGuard<RateLimitPolicy<O>, <O as AnyLimitOptions>::NeedsEnd>, P>,
    state: LayerState<RateLimitState>,
}

/// A service behind a [`RateLimitLayer`].
pub type RateLimit<S, O = LimitOptions, P = Plain> =
    PolicyService<S, AsGuard<RateLimitPolicy<O>, <O as AnyLimitOptions>::NeedsEnd>, P>;

impl RateLimitLayer {
    /// Limits calls to `quota`. The bucket is full at the start.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let limit = RateLimitState::new(quota);
        let options = LimitOptions::new();
        Self {
            state: LayerState::new(limit.clone()),
            policies: PolicyLayer::new(
                AsGuard::new(RateLimitPolicy { limit, options }),
                Plain::default(),
            ),
        }
    }
}

impl<C: 'static, N: NeedsEnd, P> RateLimitLayer<LimitOptions<NoKey, C, N>, P> {
    /// Takes `cost` tokens for a call; 1 by default. A call that costs 0 is always admitted.
    ///
    /// A call that costs more than the burst is rejected as
    /// [`InsufficientCapacity`](towerkit_core::RejectionReason::InsufficientCapacity), since no wait would help it.
    #[must_use]
    pub fn cost<Req, F>(self, cost: F) -> RateLimitLayer<LimitOptions<NoKey, F, N>, P>
    where
        F: Fn(&Call<'_, Req>) -> u32 + 'static,
    {
        self.map_options(|options| options.cost(cost))
    }

    /// Takes `cost` more tokens when a call has ended; 0 by default.
    ///
    /// For a cost that is known only then, such as one by [`CallEnd::bytes`]. The bucket may go into debt by one burst at most, and
    /// calls are rejected until the debt is paid. The cost of a call that panicked is 0.
    #[must_use]
    pub fn cost_at_end<F>(self, cost: F) -> RateLimitLayer<LimitOptions<NoKey, C, True>, P>
    where
        F: Fn(&CallEnd) -> u32 + Send + Sync + 'static,
    {
        self.map_options(|options| options.cost_at_end(cost))
    }

    /// Adds the headers `RateLimit` and `RateLimit-Policy` to responses, also to those of rejected calls; not by default.
    ///
    /// `policy` is the name of this limit in the headers
    /// ([draft-ietf-httpapi-ratelimit-headers-11](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/11/)). A
    /// rejection over gRPC has no such headers, since its response is trailers-only.
    ///
    /// # Errors
    ///
    /// If the name is empty, or contains other characters than printable ASCII, or a quote or backslash.
    pub fn headers(
        self,
        policy: &'static str,
    ) -> Result<RateLimitLayer<LimitOptions<NoKey, C, True>, P>, ConfigError> {
        let headers = RateLimitHeaders::new(policy)?;
        Ok(self.map_options(|options| options.headers(headers)))
    }
}

impl<O: AnyLimitOptions, P> RateLimitLayer<O, P> {
    /// Makes services wait in `poll_ready` while the bucket is empty, instead of rejecting calls; for use under a load balancer.
    ///
    /// A load balancer prefers the instance with the fewest calls in flight. An instance that rejects at once has none, so that it
    /// looks idle and attracts calls. With this option it is not ready until there is a token, and the balancer takes another instance.
    ///
    /// Readiness does not reserve a token: of several clones that are ready for one token, the first to be called gets it, and the
    /// others are rejected. Without a load balancer outside, callers wait for as long as the bucket is empty.
    ///
    /// The wait uses the timer of [`tokio::time`], and needs a runtime with time enabled. It reads the [`clock`](Self::clock) when the
    /// timer fires: an advance of a manual clock is noticed then, or when the quota is changed.
    #[must_use]
    pub fn backpressure(self) -> Self {
        self.with(|limit| limit.has_backpressure = true)
    }

    towerkit_core::layer_setters!(
        /// Rejections carry the name.
        name = "ratelimit"
    );

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
}

limit_layer!(RateLimitLayer, AsGuard<RateLimitPolicy>, RateLimitState);
