use std::{fmt, hash::Hash, sync::Arc};

use tower_layer::Layer;
use towerkit_core::{
    CallEnd, Clock, ConfigError, KeyFn, KeyType, LayerExt, NoProtocol, ShareCondition,
};

use crate::{Cache, CacheHandle, Capacity, Lifetime, config::Config, store::Store};

/// Caches responses by key.
///
/// `X` is the [key function](KeyFn). See the [crate's documentation](crate) for an example.
pub struct CacheLayer<X: KeyType, P = NoProtocol> {
    keys: X,
    store: Arc<Store<X::Key>>,
    config: Config,
    protocol: P,
}

impl<F, K> CacheLayer<KeyFn<F, K>>
where
    K: Hash + Eq + Send + Sync + 'static,
{
    /// Caches responses for a [`Lifetime`] and within a [`Capacity`]. A call for which `key` returns [`None`] is not cached.
    ///
    /// The key must contain everything on which the response depends, including the caller where it matters. Over HTTP use
    /// `towerkit_http::RequestKey::of`.
    #[must_use]
    pub fn new<Req>(lifetime: Lifetime, capacity: Capacity, key: F) -> Self
    where
        F: Fn(&Req) -> Option<K>,
    {
        Self {
            keys: KeyFn::new(key),
            store: Arc::new(Store::new(lifetime, capacity)),
            config: Config::default(),
            protocol: NoProtocol::default(),
        }
    }
}

impl<X: KeyType, P> CacheLayer<X, P> {
    /// Limits the size of cached response bodies, from 1 byte to 1 GiB; 256 KiB by default.
    ///
    /// A response with a larger body is streamed to its caller and not cached.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the size is out of range.
    pub fn max_body(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.config.max_body = ConfigError::check_range("max_body", bytes, 1..=1 << 30)?;
        Ok(self)
    }

    /// Caches responses for which `keep` returns true; successes by default.
    ///
    /// Errors, which cannot be cloned, and rejections by an inner layer are never cached.
    #[must_use]
    pub fn keep(mut self, keep: impl Fn(&CallEnd) -> bool + Send + Sync + 'static) -> Self {
        self.config.keep = ShareCondition::Custom(Arc::new(keep));
        self
    }

    /// Measures the age of responses with `clock`; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.config.clock = clock;
        self
    }

    /// Returns a handle on the cache, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> CacheHandle<X::Key> {
        CacheHandle::new(self.store.clone())
    }
}

impl<X: KeyType, P> LayerExt for CacheLayer<X, P> {
    type Protocol = P;
    type With<Q> = CacheLayer<X, Q>;

    fn current_protocol(&self) -> &P {
        &self.protocol
    }

    fn protocol<Q>(self, protocol: Q) -> CacheLayer<X, Q> {
        CacheLayer {
            keys: self.keys,
            store: self.store,
            config: self.config,
            protocol,
        }
    }
}

impl<S, X: KeyType + Clone, P: Clone> Layer<S> for CacheLayer<X, P> {
    type Service = Cache<S, X, P>;

    fn layer(&self, inner: S) -> Cache<S, X, P> {
        Cache {
            inner,
            keys: self.keys.clone(),
            store: self.store.clone(),
            config: self.config.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<X: KeyType + Clone, P: Clone> Clone for CacheLayer<X, P> {
    fn clone(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            store: self.store.clone(),
            config: self.config.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<X: KeyType, P> fmt::Debug for CacheLayer<X, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer")
            .field("store", &self.store)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
