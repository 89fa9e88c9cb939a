use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Arc, Mutex, PoisonError, atomic},
};

use moka::sync::Cache;
use towerkit_core::ShareResponse;

use crate::{
    Capacity, Lifetime,
    entry::{Claim, Entry, Kept},
    epochs::{Epochs, Stamp},
    freshness::Freshness,
};

/// The cached responses of a layer, by key, within its capacity.
pub(crate) struct Store<K> {
    kept: Cache<Arc<K>, Kept>,
    capacity: Capacity,
    /// Read when a response is cached, and not when it is found.
    lifetime: Mutex<Lifetime>,
    epochs: Epochs,
    hasher: RandomState,
    pub(crate) hits: Counter,
    pub(crate) stale: Counter,
    pub(crate) misses: Counter,
}

impl<K: Hash + Eq + Send + Sync + 'static> Store<K> {
    pub(crate) fn new(lifetime: Lifetime, capacity: Capacity) -> Self {
        let kept = Cache::builder()
            .max_capacity(capacity.most())
            .weigher(|_, entry: &Kept| entry.weight)
            .build();
        Self {
            kept,
            capacity,
            lifetime: Mutex::new(lifetime),
            epochs: Epochs::new(),
            hasher: RandomState::new(),
            hits: Counter::default(),
            stale: Counter::default(),
            misses: Counter::default(),
        }
    }

    /// Returns a cached response, or the call to make, possibly with the claim to fetch the next response.
    pub(crate) fn look_up<T, E, X: ShareResponse<T, E>>(
        &self,
        exchange: &X,
        key: &K,
        now: u64,
    ) -> Result<X::Response, Option<Claim>> {
        let entry = self.find(key).ok_or(None)?;
        let value = entry.value.downcast_ref().ok_or(None)?;
        match entry.terms.at(now) {
            Freshness::Fresh => self.hits.add(),
            Freshness::Stale => match Claim::take(&entry) {
                None => self.stale.add(),
                claim => return Err(claim),
            },
            Freshness::Over => return Err(None),
        }
        Ok(exchange.copy(value))
    }

    /// Returns a stale response for a failed call.
    pub(crate) fn stand_in<T, E, X: ShareResponse<T, E>>(
        &self,
        exchange: &X,
        key: &K,
        now: u64,
    ) -> Option<X::Response> {
        let entry = self.find(key)?;
        let value = entry.value.downcast_ref()?;
        if !entry.terms.stands_in(now) {
            return None;
        }
        match entry.terms.at(now) {
            Freshness::Fresh => self.hits.add(),
            Freshness::Stale | Freshness::Over => self.stale.add(),
        }
        Some(exchange.copy(value))
    }

    /// Finds the response of a key, unless the cache was cleared since.
    ///
    /// Its type may differ from the caller's if one layer wraps services with different types of response and equal keys.
    fn find(&self, key: &K) -> Option<Kept> {
        let entry = self.kept.get(key)?;
        self.epochs.is_of(entry.generation).then_some(entry)
    }

    /// Returns a stamp of the moment of a request, to detect invalidations before its response.
    pub(crate) fn stamp(&self, key: &K) -> Stamp {
        self.epochs.stamp(self.hasher.hash_one(key))
    }

    /// Caches a response that was requested at `stamp`, unless its key was invalidated since.
    pub(crate) fn keep<V>(&self, key: K, stamp: &Stamp, value: V, bytes: usize, now: u64)
    where
        V: Send + Sync + 'static,
    {
        if !self.epochs.is_current(stamp) {
            return;
        }
        let Some(weight) = self.capacity.weigh(&key, bytes) else {
            return self.discard(&key);
        };
        let terms = self.lifetime().from(now);
        let key = Arc::new(key);
        let entry = Entry::new(value, terms, weight, stamp.generation);
        self.kept.insert(key.clone(), Arc::new(entry));
        // Once more: it may have been invalidated in between.
        if !self.epochs.is_current(stamp) {
            self.discard(&key);
        }
    }

    /// Removes a response that a newer one replaces.
    pub(crate) fn discard(&self, key: &K) {
        self.kept.invalidate(key);
    }

    /// Removes the response of a key, including one that is being fetched.
    pub(crate) fn invalidate(&self, key: &K) {
        self.epochs.end(self.hasher.hash_one(key));
        self.discard(key);
    }

    /// Removes all responses, including those that are being fetched.
    pub(crate) fn clear(&self) {
        self.epochs.end_all();
        self.kept.invalidate_all();
    }

    pub(crate) fn lifetime(&self) -> Lifetime {
        *self.lifetime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_lifetime(&self, lifetime: Lifetime) {
        *self.lifetime.lock().unwrap_or_else(PoisonError::into_inner) = lifetime;
    }

    pub(crate) fn snapshot(&self) -> CacheSnapshot {
        self.kept.run_pending_tasks();
        CacheSnapshot {
            entries: self.kept.entry_count(),
            weight: self.kept.weighted_size(),
            hits: self.hits.read(),
            stale: self.stale.read(),
            misses: self.misses.read(),
        }
    }
}

impl<K> fmt::Debug for Store<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// A counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(atomic::AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self) {
        // Relaxed: nothing is read through it.
        self.0.fetch_add(1, atomic::Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(atomic::Ordering::Relaxed)
    }
}

/// The figures of a [`CacheLayer`](crate::CacheLayer) at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheSnapshot {
    /// The cached responses, including stale ones.
    pub entries: u64,
    /// Their weight, in the unit of the capacity.
    pub weight: u64,
    /// The callers that got a fresh response.
    pub hits: u64,
    /// The callers that got a stale response.
    pub stale: u64,
    /// The callers that called the inner service for a response to cache.
    pub misses: u64,
}
