use std::{fmt, hash::Hash, sync::Arc};

use crate::{CacheSnapshot, Lifetime, store::Store};

/// Reads and changes the cache of a [`CacheLayer`](crate::CacheLayer) at run time.
pub struct CacheHandle<K>(Arc<Store<K>>);

impl<K: Hash + Eq + Send + Sync + 'static> CacheHandle<K> {
    pub(crate) fn new(store: Arc<Store<K>>) -> Self {
        Self(store)
    }

    /// Removes the response of a key. A response that was requested before is not cached either.
    pub fn invalidate(&self, key: &K) {
        self.0.invalidate(key);
    }

    /// Removes all responses. Responses that were requested before are not cached either.
    pub fn clear(&self) {
        self.0.clear();
    }

    /// Sets the [`Lifetime`] of responses that arrive from now on. Cached responses keep theirs.
    pub fn set_lifetime(&self, lifetime: Lifetime) {
        self.0.set_lifetime(lifetime);
    }

    /// Returns the lifetime.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.0.lifetime()
    }

    /// Returns the figures.
    #[must_use]
    pub fn snapshot(&self) -> CacheSnapshot {
        self.0.snapshot()
    }
}

impl<K> Clone for CacheHandle<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> fmt::Debug for CacheHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CacheHandle").field(&self.0).finish()
    }
}
