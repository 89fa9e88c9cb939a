use std::time::Duration;

use towerkit_core::{
    AsAsyncGuard, AsyncPolicyService, Call, CallEnd, Clock, ConfigError, LayerState, Plain,
    PolicyLayer, True,
};
use towerkit_keyed::NoKey;

use super::{DelayingRateLimitHandle, DelayingRateLimitPolicy, guard::DelayingState};
use crate::{
    AnyLimitOptions, LimitOptions, NeedsEnd, Quota, headers::RateLimitHeaders, macros::limit_layer,
};

/// Limits the rate of all calls together, and lets calls over the limit wait in a queue, first in, first out.
///
/// Use it to stay within the quota of an upstream service, or to smooth bursts. A call over the limit waits for its token, up to a
/// maximum, and within its [`Deadline`](towerkit_core::Deadline).
///
/// ```
/// use std::time::Duration;
/// use tower::{Service, ServiceBuilder, ServiceExt};
/// use towerkit_core::BoxError;
/// use towerkit_ratelimit::{DelayingRateLimitLayer, Quota};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let quota = Quota::per_second(100)?.burst(1)?;
/// let layer = DelayingRateLimitLayer::new(quota, Duration::from_secs(2))?;
/// let mut service = ServiceBuilder::new()
///     .layer(layer)
///     .service_fn(|name: &'static str| async move { Ok::<_, BoxError>(format!("hello, {name}")) });
///
/// assert_eq!(service.ready().await?.call("Ann").await?, "hello, Ann");
/// // The second call waits for 10 ms.
/// assert_eq!(service.ready().await?.call("Bob").await?, "hello, Bob");
/// # Ok::<_, BoxError>(()) }).unwrap();
/// ```
pub struct DelayingRateLimitLayer<O: AnyLimitOptions = LimitOptions, P = Plain> {
    policies:
        PolicyLayer<AsAsyncGuard<DelayingRateLimitPolicy<O>, <O as AnyLimitOptions>::NeedsEnd>, P>,
    state: LayerState<DelayingState>,
}

/// A service behind a [`DelayingRateLimitLayer`].
pub type DelayingRateLimit<S, O = LimitOptions, P = Plain> = AsyncPolicyService<
    S,
    AsAsyncGuard<DelayingRateLimitPolicy<O>, <O as AnyLimitOptions>::NeedsEnd>,
    P,
>;

impl DelayingRateLimitLayer {
    /// Limits calls to `quota`, and lets each wait for up to `max_wait`. The bucket is full at the start.
    ///
    /// A call that would wait longer, or past its [deadline](towerkit_core::Deadline), is rejected at once.
    ///
    /// # Errors
    ///
    /// If `max_wait` is zero or more than a year.
    pub fn new(quota: Quota, max_wait: Duration) -> Result<Self, ConfigError> {
        ConfigError::check_duration("max_wait", max_wait)?;
        let limit = DelayingState::new(quota, max_wait);
        let options = LimitOptions::new();
        Ok(Self {
            state: LayerState::new(limit.clone()),
            policies: PolicyLayer::new(
                AsAsyncGuard::new(DelayingRateLimitPolicy { limit, options }),
                Plain::default(),
            ),
        })
    }
}

impl<C: 'static, N: NeedsEnd, P> DelayingRateLimitLayer<LimitOptions<NoKey, C, N>, P> {
    /// Takes `cost` tokens for a call, see [`RateLimitLayer::cost`](crate::RateLimitLayer::cost).
    #[must_use]
    pub fn cost<Req, F>(self, cost: F) -> DelayingRateLimitLayer<LimitOptions<NoKey, F, N>, P>
    where
        F: Fn(&Call<'_, Req>) -> u32 + 'static,
    {
        self.map_options(|options| options.cost(cost))
    }

    /// Takes `cost` more tokens when a call has ended, see [`RateLimitLayer::cost_at_end`](crate::RateLimitLayer::cost_at_end). Calls
    /// that already wait are not delayed by it.
    #[must_use]
    pub fn cost_at_end<F>(self, cost: F) -> DelayingRateLimitLayer<LimitOptions<NoKey, C, True>, P>
    where
        F: Fn(&CallEnd) -> u32 + Send + Sync + 'static,
    {
        self.map_options(|options| options.cost_at_end(cost))
    }

    /// Adds the headers `RateLimit` and `RateLimit-Policy` to responses, see
    /// [`RateLimitLayer::headers`](crate::RateLimitLayer::headers).
    ///
    /// # Errors
    ///
    /// If the name is empty, or contains other characters than printable ASCII, or a quote or backslash.
    pub fn headers(
        self,
        policy: &'static str,
    ) -> Result<DelayingRateLimitLayer<LimitOptions<NoKey, C, True>, P>, ConfigError> {
        let headers = RateLimitHeaders::new(policy)?;
        Ok(self.map_options(|options| options.headers(headers)))
    }
}

impl<O: AnyLimitOptions, P> DelayingRateLimitLayer<O, P> {
    /// Sets the number of calls that may wait at the same time; 10,000 by default. More calls are rejected at once.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a million.
    pub fn queue(self, calls: usize) -> Result<Self, ConfigError> {
        if !(1..=1_000_000).contains(&calls) {
            return Err(ConfigError::new("queue", calls, "1 to 1000000 calls"));
        }
        Ok(self.with(|limit| limit.queue.max_len = calls))
    }

    towerkit_core::layer_setters!(
        /// Rejections carry the name.
        name = "ratelimit"
    );

    /// Reads time from `clock`; [`Clock::monotonic`] by default. It must run at the pace of [`tokio::time`], whose timers end a wait.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|limit| limit.set_clock(clock))
    }

    /// Returns a handle on the bucket, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> DelayingRateLimitHandle {
        DelayingRateLimitHandle(self.state.handle())
    }
}

limit_layer!(
    DelayingRateLimitLayer,
    AsAsyncGuard<DelayingRateLimitPolicy>,
    DelayingState
);
