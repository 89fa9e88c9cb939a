use towerkit_core::{
    AsGuard, Call, CallEnd, ConfigError, LayerState, Plain, PolicyLayer, PolicyService, True,
};
use towerkit_keyed::WhenFull;

use super::{KeyedRateLimitHandle, KeyedRateLimitPolicy, config::KeyedConfig, guard::KeyedState};
use crate::{
    AnyLimitOptions, LimitOptions, NeedsEnd, Quota, config::MAX_TIERS, headers::RateLimitHeaders,
    macros::limit_layer,
};

/// Limits the rate of calls for each key, such as a user, an API key or a client address, in memory of a fixed size.
///
/// ```
/// use tower::{Service, ServiceBuilder, ServiceExt};
/// use towerkit_core::{BoxError, Call};
/// use towerkit_ratelimit::{ByText, KeyedRateLimitLayer, Quota};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let by_user = ByText::new(|call: &Call<'_, String>| Some(call.request.as_str()));
/// let mut service = ServiceBuilder::new()
///     .layer(KeyedRateLimitLayer::new(Quota::per_second(1)?, by_user))
///     .service_fn(|user: String| async move { Ok::<_, BoxError>(format!("hello, {user}")) });
///
/// assert!(service.ready().await?.call("ann".to_owned()).await.is_ok());
/// assert!(service.ready().await?.call("ann".to_owned()).await.is_err());
/// assert!(service.ready().await?.call("bob".to_owned()).await.is_ok());
/// # Ok::<_, BoxError>(()) }).unwrap();
/// ```
pub struct KeyedRateLimitLayer<O: AnyLimitOptions, P = Plain> {
    policies: PolicyLayer<AsGuard<KeyedRateLimitPolicy<O>, <O as AnyLimitOptions>::NeedsEnd>, P>,
    state: LayerState<KeyedState>,
}

/// A service behind a [`KeyedRateLimitLayer`].
pub type KeyedRateLimit<S, O, P = Plain> =
    PolicyService<S, AsGuard<KeyedRateLimitPolicy<O>, <O as AnyLimitOptions>::NeedsEnd>, P>;

impl<K: 'static> KeyedRateLimitLayer<LimitOptions<K>> {
    /// Limits the calls of each key to `quota`. `key` is a [`KeyExtractor`](crate::KeyExtractor).
    ///
    /// Calls without a key share a bucket, or are rejected if the extractor [requires](crate::KeyExtractor::REQUIRED) a key, as
    /// `ByClientAddress` does.
    #[must_use]
    pub fn new(quota: Quota, key: K) -> Self {
        let limit = KeyedState::new(KeyedConfig::new(quota));
        let options = LimitOptions::with_key(key);
        Self {
            state: LayerState::new(limit.clone()),
            policies: PolicyLayer::new(
                AsGuard::new(KeyedRateLimitPolicy { limit, options }),
                Plain::default(),
            ),
        }
    }
}

impl<K: 'static, C: 'static, N: NeedsEnd, T: 'static, P>
    KeyedRateLimitLayer<LimitOptions<K, C, N, T>, P>
{
    /// Adds tiers: more quotas, of which `choose` picks one for each call. Tier 0 is the quota given to [`new`](Self::new), tier 1
    /// the first of `quotas`, and so on.
    ///
    /// An index without a quota counts as tier 0. A key has a bucket in each tier in which it makes calls.
    ///
    /// # Errors
    ///
    /// If `quotas` is empty or has more than 15 elements.
    #[expect(clippy::type_complexity, reason = "it says which option changes")]
    pub fn tiers<Req, F>(
        self,
        quotas: impl IntoIterator<Item = Quota>,
        choose: F,
    ) -> Result<KeyedRateLimitLayer<LimitOptions<K, C, N, F>, P>, ConfigError>
    where
        F: Fn(&Call<'_, Req>) -> usize + 'static,
    {
        let quotas: Vec<_> = quotas.into_iter().take(MAX_TIERS + 1).collect();
        if quotas.is_empty() || quotas.len() > MAX_TIERS {
            return Err(ConfigError::new("tiers", quotas.len(), "1 to 15 quotas"));
        }
        let layer = self.with(|config| {
            config.quotas.truncate(1);
            config.quotas.extend(quotas);
        });
        Ok(layer.map_options(|options| options.tier(choose)))
    }

    /// Takes `cost` tokens for a call, see [`RateLimitLayer::cost`](crate::RateLimitLayer::cost).
    #[must_use]
    pub fn cost<Req, F>(self, cost: F) -> KeyedRateLimitLayer<LimitOptions<K, F, N, T>, P>
    where
        F: Fn(&Call<'_, Req>) -> u32 + 'static,
    {
        self.map_options(|options| options.cost(cost))
    }

    /// Takes `cost` more tokens when a call has ended, see [`RateLimitLayer::cost_at_end`](crate::RateLimitLayer::cost_at_end).
    #[must_use]
    pub fn cost_at_end<F>(self, cost: F) -> KeyedRateLimitLayer<LimitOptions<K, C, True, T>, P>
    where
        F: Fn(&CallEnd) -> u32 + Send + Sync + 'static,
    {
        self.map_options(|options| options.cost_at_end(cost))
    }

    /// Adds the headers `RateLimit` and `RateLimit-Policy` to responses, see
    /// [`RateLimitLayer::headers`](crate::RateLimitLayer::headers). They show the bucket of the key, but not the key.
    ///
    /// # Errors
    ///
    /// If the name is empty, or contains other characters than printable ASCII, or a quote or backslash.
    #[expect(clippy::type_complexity, reason = "it says which option changes")]
    pub fn headers(
        self,
        policy: &'static str,
    ) -> Result<KeyedRateLimitLayer<LimitOptions<K, C, True, T>, P>, ConfigError> {
        let headers = RateLimitHeaders::new(policy)?;
        Ok(self.map_options(|options| options.headers(headers)))
    }
}

impl<O: AnyLimitOptions, P> KeyedRateLimitLayer<O, P> {
    /// Sets the number of keys that can be in use at the same time; 100,000 by default.
    ///
    /// The memory is 32 bytes for each key of the capacity, allocated with the first call. By chance there is room for up to twice as
    /// many keys. A key with a full bucket gives its slot to a new key.
    ///
    /// # Errors
    ///
    /// If it is zero or more than 16,777,216.
    pub fn capacity(self, keys: usize) -> Result<Self, ConfigError> {
        if !(1..=KeyedConfig::MAX_CAPACITY).contains(&keys) {
            return Err(ConfigError::new("capacity", keys, "1 to 16777216 keys"));
        }
        Ok(self.with(|config| config.capacity = keys))
    }

    /// Decides the fate of a call if its key finds no slot, because the buckets in its slots are in use; [`WhenFull::Share`] by
    /// default.
    ///
    /// Such keys share a bucket with the quota of their tier. A key that gets a slot later finds no more tokens in it than if it had
    /// had the slot all along. One in 256 keys is counted together with it, so that it may find fewer at first.
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> Self {
        self.with(|config| config.when_full = when_full)
    }

    /// Limits the calls of all keys together to `quota`; not limited by default. If one of the two limits rejects a call, the other
    /// loses no tokens.
    #[must_use]
    pub fn total(self, quota: Quota) -> Self {
        self.with(|config| config.total = Some(quota))
    }

    towerkit_core::layer_setters!(
        /// Rejections and events carry the name.
        name = "ratelimit",
        clock,
        /// These are [`KeyTableFull`](towerkit_core::Event::KeyTableFull) when keys find no slot, and
        /// [`ClientAddressMissing`](towerkit_core::Event::ClientAddressMissing) when the server does not attach the addresses of its
        /// clients, each at most once a second.
        events
    );

    /// Returns a handle on the buckets, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> KeyedRateLimitHandle {
        KeyedRateLimitHandle(self.state.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut KeyedConfig)) -> Self {
        let limit = &mut self.policies.policy_mut().get_mut().limit;
        limit.configure(set);
        self.state.replace(limit.clone());
        self
    }
}

limit_layer!(KeyedRateLimitLayer, AsGuard<KeyedRateLimitPolicy>);
