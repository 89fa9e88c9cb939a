use std::{fmt, hash::Hash, sync::Arc};

use crate::{CacheSnapshot, Lifetime, store::Store};

/// Reads and changes what a [`CacheLayer`](crate::CacheLayer) keeps while it runs.
pub struct CacheHandle<K>(Arc<Store<K>>);

impl<K: Hash + Eq + Send + Sync + 'static> CacheHandle<K> {
    pub(crate) fn new(store: Arc<Store<K>>) -> Self {
        Self(store)
    }

    /// Throws away what is kept for a key. An answer that was asked for before is not kept either.
    pub fn invalidate(&self, key: &K) {
        self.0.invalidate(key);
    }

    /// Throws away all that is kept, and does not keep what was asked for before.
    pub fn clear(&self) {
        self.0.clear();
    }

    /// Keeps answers that are there from now on for another time. What is kept already stays as it is.
    pub fn change(&self, lifetime: Lifetime) {
        self.0.change(lifetime);
    }

    /// Returns the lifetime.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.0.lifetime()
    }

    /// Returns the figures of this moment.
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
