use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::{
    AsAsyncGuard, AsyncPolicyService, ConfigError, False, IntoPolicy, Layer, LayerExt, LayerState,
    Plain, PolicyLayer, layer_setters,
};
use towerkit_keyed::{NoKey, WhenFull};
use towerkit_ratelimit::Quota;

use crate::{
    config::{Config, Fallback},
    connection::Redis,
    guard::RedisRateLimitPolicy,
    handle::RedisRateLimitHandle,
    lease::Lease,
    limiter::Limiter,
    local_bucket::Gcra,
    redis_store::RedisStore,
    script_quota::ScriptQuota,
    store::Store,
};

/// Limits the rate of calls by a [`Quota`] that all processes share on Redis.
///
/// The [crate](crate) documentation has an example and the guarantees.
pub struct RedisRateLimitLayer<K: 'static = NoKey, P = Plain> {
    policies: PolicyLayer<AsAsyncGuard<RedisRateLimitPolicy<K>, False>, P>,
    /// The limiter, shared with the handles.
    state: LayerState<Arc<Limiter>>,
}

/// The service of a [`RedisRateLimitLayer`].
pub type RedisRateLimit<S, K = NoKey, P = Plain> =
    AsyncPolicyService<S, AsAsyncGuard<RedisRateLimitPolicy<K>, False>, P>;

impl RedisRateLimitLayer {
    /// Limits all calls together to `quota`, shared by all processes that use the same [prefix](Self::prefix) on the same Redis.
    ///
    /// `redis` is a [`Client`](redis::Client) or, with the feature `cluster`, a [`ClusterClient`](redis::cluster::ClusterClient). The layer
    /// connects with the first call.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if Redis cannot [count the quota exactly](crate#precision).
    pub fn new(redis: impl Into<Redis>, quota: Quota) -> Result<Self, ConfigError> {
        Self::with_store(Arc::new(RedisStore::new(redis.into())), quota)
    }

    pub(crate) fn with_store(store: Arc<dyn Store>, quota: Quota) -> Result<Self, ConfigError> {
        let config = Config::new(store, quota, ScriptQuota::of(&quota)?);
        let guard = RedisRateLimitPolicy::new(config, NoKey);
        Ok(Self {
            state: LayerState::new(guard.limiter.clone()),
            policies: PolicyLayer::new(AsAsyncGuard::new(guard), Plain::default()),
        })
    }
}

impl<K, P> RedisRateLimitLayer<K, P> {
    /// Gives each key a quota of its own; calls without a key share one quota.
    ///
    /// `key` is a [`KeyExtractor`](towerkit_keyed::KeyExtractor) whose key implements [`Display`](fmt::Display): a function from
    /// [`&Call<'_, Req>`](towerkit_core::Call) to `Option<K>`, [`ByHeader`](towerkit_keyed::ByHeader) or
    /// [`ByText`](towerkit_keyed::ByText).
    ///
    /// The text of the key becomes part of a name on Redis and can be read there, so it must not be a secret. A key of more than 128
    /// bytes is replaced by its SHA-1 digest.
    #[must_use]
    pub fn key<F>(mut self, key: F) -> RedisRateLimitLayer<F, P> {
        const DEFAULT_CAPACITY: usize = 10_000;
        let mut config = self.config();
        if config.capacity == 1 {
            config.capacity = DEFAULT_CAPACITY;
        }
        let guard = RedisRateLimitPolicy::new(config, key);
        self.state.replace(guard.limiter.clone());
        RedisRateLimitLayer {
            policies: self.policies.map(|_| AsAsyncGuard::new(guard)),
            state: self.state,
        }
    }

    /// Leases up to `size` tokens of a key for `time`; by default a tenth of the burst, at least 1, for one second.
    ///
    /// The first lease of a key has one token. A lease that is spent within half of `time` doubles the next one. A process never holds
    /// more than `size` tokens of a key. With a `size` of 1 every admitted call costs a round trip to Redis.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] unless `size` is 1 to 65,535 and `time` is above zero and at most one hour.
    pub fn lease(self, size: u32, time: Duration) -> Result<Self, ConfigError> {
        let size = ConfigError::check_range("lease size", size, 1..=Lease::MAX)?;
        if time.is_zero() || time > Duration::from_secs(3600) {
            let expected = "a time above 0 and up to an hour";
            return Err(ConfigError::new("lease time", time, expected));
        }
        Ok(self.with(|config| {
            config.lease_size = Some(size);
            config.lease_time = time;
        }))
    }

    /// Limits the wait for an answer of Redis to `time`; 100 ms by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `time` is zero or more than one minute.
    pub fn timeout(self, time: Duration) -> Result<Self, ConfigError> {
        if time.is_zero() || time > Duration::from_secs(60) {
            let expected = "a time above 0 and up to a minute";
            return Err(ConfigError::new("timeout", time, expected));
        }
        Ok(self.with(|config| config.timeout = time))
    }

    /// Admits every call while Redis is unreachable.
    #[must_use]
    pub fn fail_open(self) -> Self {
        self.with(|config| config.fallback = Fallback::Admit)
    }

    /// Rejects calls as [`Unavailable`](towerkit_core::RejectionReason::Unavailable) while Redis is unreachable.
    ///
    /// Tokens that are leased already can still be spent.
    #[must_use]
    pub fn fail_closed(self) -> Self {
        self.with(|config| config.fallback = Fallback::Reject)
    }

    /// Limits the calls of each key in this process to `quota` while Redis is unreachable; by default to the quota of the layer.
    #[must_use]
    pub fn fallback_quota(self, quota: Quota) -> Self {
        self.with(|config| config.fallback = Fallback::Local(Gcra::of(&quota)))
    }

    /// Reserves memory for the state of `keys` keys, about 400 bytes each; 10,000 keys by default.
    ///
    /// The slot of an idle key is given to a new one. See [`when_full`](Self::when_full) for calls that find no idle slot.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `keys` is zero or more than 16,777,216.
    pub fn capacity(self, keys: usize) -> Result<Self, ConfigError> {
        let keys = ConfigError::check_range("capacity", keys, 1..=1 << 24)?;
        // A capacity of 1 means that no key was configured.
        Ok(self.with(|config| config.capacity = keys.max(2)))
    }

    /// Decides about calls whose key finds no slot, because all slots are taken by keys with leased tokens.
    ///
    /// By default, [`WhenFull::Bypass`], such a call asks Redis for a token of its own. With [`WhenFull::Share`] such calls take tokens
    /// from the quota of calls without a key.
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> Self {
        self.with(|config| config.when_full = when_full)
    }

    /// Sets the prefix of the names on Redis; `towerkit:ratelimit` by default. The bucket of a key is named `prefix:key`.
    ///
    /// Layers with the same prefix share their buckets. Give each limit a prefix of its own, and none that is the start of another
    /// followed by a colon.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        self.with(|config| config.prefix = prefix.into())
    }

    layer_setters!(
        /// Rejections and events carry the name.
        name = "ratelimit",
        /// It is the time of leases. Buckets on Redis use the clock of the server.
        clock,
        /// These are [`StoreChanged`](towerkit_core::Event::StoreChanged), when Redis becomes unreachable or reachable.
        events
    );

    /// Returns a handle that reads and changes the limit while it runs.
    #[must_use]
    pub fn handle(&self) -> RedisRateLimitHandle {
        RedisRateLimitHandle(self.state.handle())
    }

    /// Leaks the shared state of this layer to save a reference count per call; see [`PolicyLayer::leak`].
    #[must_use]
    pub fn leak(mut self) -> Self {
        self.policies = self.policies.leak();
        self
    }

    /// Returns the options, with the quota that a handle has set since.
    fn config(&self) -> Config {
        let limiter = &self.policies.policy().get().limiter;
        let mut config = limiter.config.clone();
        (config.quota, config.script_quota) = limiter.quota();
        config
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config();
        set(&mut config);
        let limiter = Arc::new(Limiter::new(config));
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
