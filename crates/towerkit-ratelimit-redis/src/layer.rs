use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::{
    AsAsyncGuard, AsyncPolicyService, Call, Clock, EventSink, False, IntoPolicy, Layer, LayerExt,
    LayerState, Plain, PolicyLayer,
};
use towerkit_ratelimit::Quota;

use crate::{
    InvalidSetting, OneKey, Overflow, Redis, RedisRateLimitHandle, RedisRateLimitPolicy,
    invalid::Problem,
    lease::Lease,
    limiter::Limiter,
    measure::Measure,
    redis_store::RedisStore,
    settings::{Away, Settings},
    spare::Spacing,
    store::Store,
};

/// Limits the rate of calls by a quota that all processes share on Redis.
pub struct RedisRateLimitLayer<K: 'static = OneKey, P = Plain> {
    policies: PolicyLayer<AsAsyncGuard<RedisRateLimitPolicy<K>, False>, P>,
    /// The limit, as handles see it.
    state: LayerState<Arc<Limiter>>,
}

/// A service behind a [`RedisRateLimitLayer`].
pub type RedisRateLimit<S, K = OneKey, P = Plain> =
    AsyncPolicyService<S, AsAsyncGuard<RedisRateLimitPolicy<K>, False>, P>;

impl RedisRateLimitLayer {
    /// Limits all calls together to `quota`, which all processes share that use the same [prefix](Self::prefix) on the same Redis.
    ///
    /// # Errors
    ///
    /// If Redis cannot count the quota exactly, see [`InvalidSetting`].
    pub fn new(redis: impl Into<Redis>, quota: Quota) -> Result<Self, InvalidSetting> {
        Self::with_store(Arc::new(RedisStore::new(redis.into())), quota)
    }

    pub(crate) fn with_store(store: Arc<dyn Store>, quota: Quota) -> Result<Self, InvalidSetting> {
        let settings = Settings::new(store, quota, Measure::of(&quota)?);
        let guard = RedisRateLimitPolicy::new(settings, OneKey);
        Ok(Self {
            state: LayerState::new(guard.limiter.clone()),
            policies: PolicyLayer::new(AsAsyncGuard::new(guard), Plain::default()),
        })
    }
}

impl<K, P> RedisRateLimitLayer<K, P> {
    /// Gives each key a quota of its own: `key` says to which a call belongs. Calls without one share a quota.
    ///
    /// The key becomes a part of a name on Redis, where whoever may look can read it; so let it be no secret. One that is longer than
    /// 128 bytes goes by its SHA-1.
    #[must_use]
    pub fn key<Req, F>(mut self, key: F) -> RedisRateLimitLayer<F, P>
    where
        F: for<'a> Fn(&'a Call<'_, Req>) -> Option<&'a str>,
    {
        const KEYS: usize = 10_000;
        let mut settings = self.settings();
        if settings.capacity == 1 {
            settings.capacity = KEYS;
        }
        let guard = RedisRateLimitPolicy::new(settings, key);
        self.state.replace(guard.limiter.clone());
        RedisRateLimitLayer {
            policies: self.policies.map(|_| AsAsyncGuard::new(guard)),
            state: self.state,
        }
    }

    /// Leases up to `size` tokens of a key for `time`; a tenth of the burst, and at least 1, for a second by default.
    ///
    /// A process begins with one token and leases more at a time as long as it spends them within half the time. The tokens that it
    /// holds of a key are never more than `size`.
    ///
    /// # Errors
    ///
    /// If `size` is not 1 to 65,535, or `time` is zero or more than an hour.
    pub fn lease(self, size: u32, time: Duration) -> Result<Self, InvalidSetting> {
        if !(1..=Lease::MOST).contains(&size) {
            return Err(InvalidSetting(Problem::LeaseSize(size)));
        }
        if time.is_zero() || time > Duration::from_secs(3600) {
            return Err(InvalidSetting(Problem::LeaseTime(time)));
        }
        Ok(self.with(|settings| {
            settings.lease_size = Some(size);
            settings.lease_time = time;
        }))
    }

    /// Waits no longer than `time` for an answer of Redis; 100 ms by default.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a minute.
    pub fn timeout(self, time: Duration) -> Result<Self, InvalidSetting> {
        if time.is_zero() || time > Duration::from_secs(60) {
            return Err(InvalidSetting(Problem::Timeout(time)));
        }
        Ok(self.with(|settings| settings.timeout = time))
    }

    /// Admits every call while Redis is away.
    #[must_use]
    pub fn fail_open(self) -> Self {
        self.with(|settings| settings.away = Away::Admit)
    }

    /// Rejects calls as [`Unavailable`](towerkit_core::RejectionReason::Unavailable) while Redis is away, once leased tokens are spent.
    #[must_use]
    pub fn fail_closed(self) -> Self {
        self.with(|settings| settings.away = Away::Reject)
    }

    /// Limits the calls of each key by `quota` in this process while Redis is away; the quota itself by default.
    #[must_use]
    pub fn fail_open_within(self, quota: Quota) -> Self {
        self.with(|settings| settings.away = Away::Within(Spacing::of(&quota)))
    }

    /// Keeps what belongs to a key for up to `keys` of them, rounded up to a power of two; 10,000 by default. About 200 bytes each.
    ///
    /// # Errors
    ///
    /// If it is zero or more than 16,777,216.
    pub fn capacity(self, keys: usize) -> Result<Self, InvalidSetting> {
        if !(1..=1 << 24).contains(&keys) {
            return Err(InvalidSetting(Problem::Capacity(keys)));
        }
        // A place for one key is for layers that have but one.
        Ok(self.with(|settings| settings.capacity = keys.max(2)))
    }

    /// Says what becomes of a call whose key finds no room in the process; it asks Redis by default.
    #[must_use]
    pub fn overflow(self, overflow: Overflow) -> Self {
        self.with(|settings| settings.overflow = overflow)
    }

    /// Begins the names on Redis so; `towerkit:ratelimit` by default. The name of a key is the prefix, a colon and the key.
    ///
    /// Limits share their buckets if they have one prefix, and only then, as long as no prefix is another one, a colon and more.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        self.with(|settings| settings.prefix = prefix.into())
    }

    /// Names this limit in rejections and events; `ratelimit` by default.
    #[must_use]
    pub fn name(self, name: &'static str) -> Self {
        self.with(|settings| settings.name = name)
    }

    /// Reads the time of leases from `clock`; [`Clock::monotonic`] by default. Tokens flow by the clock of Redis.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|settings| settings.clock = clock)
    }

    /// Reports to `sink` that Redis is away, and that it is back; to no one by default.
    #[must_use]
    pub fn events(self, sink: impl EventSink + 'static) -> Self {
        self.with(|settings| settings.sink = Some(Arc::new(sink)))
    }

    /// Returns a handle on the limit, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> RedisRateLimitHandle {
        RedisRateLimitHandle(self.state.handle())
    }

    /// Leaks the state of this layer, once, see [`PolicyLayer::leak`].
    #[must_use]
    pub fn leak(mut self) -> Self {
        self.policies = self.policies.leak();
        self
    }

    /// Returns the settings, with the quota that a handle may have set since.
    fn settings(&self) -> Settings {
        let limiter = &self.policies.policy().get().limiter;
        let mut settings = limiter.settings.clone();
        (settings.quota, settings.measure) = limiter.quota();
        settings
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings();
        set(&mut settings);
        let limiter = Arc::new(Limiter::new(settings));
        self.state.replace(limiter.clone());
        self.policies.policy_mut().get_mut().limiter = limiter;
        self
    }
}

impl<K, P: Clone> Clone for RedisRateLimitLayer<K, P> {
    fn clone(&self) -> Self {
        Self {
            policies: self.policies.clone(),
            state: self.state.clone(),
        }
    }
}

impl<K, P> fmt::Debug for RedisRateLimitLayer<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRateLimitLayer")
            .field("limiter", &self.policies.policy().get().limiter)
            .finish_non_exhaustive()
    }
}

impl<S, K, P: Clone> Layer<S> for RedisRateLimitLayer<K, P> {
    type Service = RedisRateLimit<S, K, P>;

    fn layer(&self, inner: S) -> Self::Service {
        self.state.mark_used();
        self.policies.layer(inner)
    }
}

impl<K, P> LayerExt for RedisRateLimitLayer<K, P> {
    type Protocol = P;
    type With<Q> = RedisRateLimitLayer<K, Q>;

    fn current_protocol(&self) -> &P {
        self.policies.current_protocol()
    }

    fn protocol<Q>(self, protocol: Q) -> RedisRateLimitLayer<K, Q> {
        RedisRateLimitLayer {
            policies: self.policies.protocol(protocol),
            state: self.state,
        }
    }
}

impl<K> IntoPolicy for RedisRateLimitLayer<K, Plain> {
    type Policy = AsAsyncGuard<RedisRateLimitPolicy<K>, False>;

    fn into_policy(self) -> Self::Policy {
        self.state.mark_used();
        self.policies.into_policy()
    }
}
