use std::{fmt, hash::Hash, sync::Arc};

use tower_layer::Layer;
use towerkit_core::{CallEnd, Clock, ConfigError, KeyFn, KeyType, LayerExt, NoProtocol};

use crate::{
    Cache, CacheHandle, Capacity, Lifetime,
    config::{KeepPolicy, Settings, in_range},
    store::Store,
};

/// Keeps answers for a while, and gives them to callers who ask for the same.
///
/// `X` is what finds the keys, a [`KeyFn`].
pub struct CacheLayer<X: KeyType, P = NoProtocol> {
    keys: X,
    store: Arc<Store<X::Key>>,
    settings: Settings,
    protocol: P,
}

impl<F, K> CacheLayer<KeyFn<F, K>>
where
    K: Hash + Eq + Send + Sync + 'static,
{
    /// Keeps answers for `lifetime`, no more than `capacity` of them, by the key that `key` finds. A call for which it returns
    /// `None` is made as if there were no layer.
    ///
    /// Equal keys have to mean that the same answer is right for both callers: what the answer depends on, who asks included,
    /// belongs in the key. Over HTTP `towerkit_http::RequestKey::of` is such a function.
    #[must_use]
    pub fn new<Req>(lifetime: Lifetime, capacity: Capacity, key: F) -> Self
    where
        F: Fn(&Req) -> Option<K>,
    {
        Self {
            keys: KeyFn::new(key),
            store: Arc::new(Store::new(lifetime, capacity)),
            settings: Settings::default(),
            protocol: NoProtocol::default(),
        }
    }
}

impl<X: KeyType, P> CacheLayer<X, P> {
    /// Keeps response bodies of up to so many bytes, 1 byte to 1 GiB; 256 KiB by default.
    ///
    /// A response with a longer body is passed on as it comes.
    ///
    /// # Errors
    ///
    /// If it is 0 or more than 1 GiB.
    pub fn max_body(mut self, bytes: usize) -> Result<Self, ConfigError> {
        in_range("max_body", bytes as u64, 1 << 30)?;
        self.settings.max_body = bytes;
        Ok(self)
    }

    /// Keeps what `keep` returns true for; successes by default.
    ///
    /// Errors, which cannot be cloned, and rejections by a layer further in are never kept.
    #[must_use]
    pub fn keep(mut self, keep: impl Fn(&CallEnd) -> bool + Send + Sync + 'static) -> Self {
        self.settings.keep = KeepPolicy::asking(keep);
        self
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Returns a handle on what is kept, which all services of this layer share.
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
            settings: self.settings,
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
            settings: self.settings.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<X: KeyType + Clone, P: Clone> Clone for CacheLayer<X, P> {
    fn clone(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            store: self.store.clone(),
            settings: self.settings.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<X: KeyType, P> fmt::Debug for CacheLayer<X, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer")
            .field("store", &self.store)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
