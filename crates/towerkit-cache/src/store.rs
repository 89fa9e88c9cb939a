use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Arc, Mutex, PoisonError, atomic},
};

use moka::sync::Cache;
use towerkit_core::ShareResponse;

use crate::{
    Capacity, Lifetime,
    entry::{CachedResponse, Entry, FetchClaim},
    freshness::Freshness,
    invalidations::{Invalidations, RequestStamp},
};

/// The cached responses of a layer, by key, within its capacity.
pub(crate) struct Store<K> {
    responses: Cache<Arc<K>, CachedResponse>,
    capacity: Capacity,
    /// Read when a response is cached, and not when it is found.
    lifetime: Mutex<Lifetime>,
    invalidations: Invalidations,
    hasher: RandomState,
    pub(crate) hits: Counter,
    pub(crate) stale: Counter,
    pub(crate) misses: Counter,
}

impl<K: Hash + Eq + Send + Sync + 'static> Store<K> {
    pub(crate) fn new(lifetime: Lifetime, capacity: Capacity) -> Self {
        let responses = Cache::builder()
            .max_capacity(capacity.most())
            .weigher(|_, entry: &CachedResponse| entry.weight)
            .build();
        Self {
            responses,
            capacity,
            lifetime: Mutex::new(lifetime),
            invalidations: Invalidations::new(),
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
    ) -> Result<X::Response, Option<FetchClaim>> {
        let entry = self.find(key).ok_or(None)?;
        let value = entry.value.downcast_ref().ok_or(None)?;
        match entry.expiry.freshness(now) {
            Freshness::Fresh => self.hits.add(),
            Freshness::Stale => match FetchClaim::take(&entry) {
                None => self.stale.add(),
                claim => return Err(claim),
            },
            Freshness::Expired => return Err(None),
        }
        Ok(exchange.copy(value))
    }

    /// Returns a stale response for a failed call.
    pub(crate) fn stale_response<T, E, X: ShareResponse<T, E>>(
        &self,
        exchange: &X,
        key: &K,
        now: u64,
    ) -> Option<X::Response> {
        let entry = self.find(key)?;
        let value = entry.value.downcast_ref()?;
        if !entry.expiry.is_usable_on_error(now) {
            return None;
        }
        match entry.expiry.freshness(now) {
            Freshness::Fresh => self.hits.add(),
            Freshness::Stale | Freshness::Expired => self.stale.add(),
        }
        Some(exchange.copy(value))
    }

    /// Finds the response of a key, unless the cache was cleared since.
    ///
    /// Its type may differ from the caller's if one layer wraps services with different types of response and equal keys.
    fn find(&self, key: &K) -> Option<CachedResponse> {
        let entry = self.responses.get(key)?;
        self.invalidations
            .is_current_generation(entry.generation)
            .then_some(entry)
    }

    /// Returns a stamp of the moment of a request, to detect invalidations before its response.
    pub(crate) fn stamp(&self, key: &K) -> RequestStamp {
        self.invalidations.stamp(self.hasher.hash_one(key))
    }

    /// Caches a response that was requested at `stamp`, unless its key was invalidated since.
    pub(crate) fn insert<V>(&self, key: K, stamp: &RequestStamp, value: V, bytes: usize, now: u64)
    where
        V: Send + Sync + 'static,
    {
        if !self.invalidations.is_current(stamp) {
            return;
        }
        let Some(weight) = self.capacity.weigh(&key, bytes) else {
            return self.remove(&key);
        };
        let expiry = self.lifetime().expiry(now);
        let key = Arc::new(key);
        let entry = Entry::new(value, expiry, weight, stamp.generation);
        self.responses.insert(key.clone(), Arc::new(entry));
        // Once more: it may have been invalidated in between.
        if !self.invalidations.is_current(stamp) {
            self.remove(&key);
        }
    }

    /// Removes the response of a key, and does not affect one that is being fetched.
    pub(crate) fn remove(&self, key: &K) {
        self.responses.invalidate(key);
    }

    /// Removes the response of a key, including one that is being fetched.
    pub(crate) fn invalidate(&self, key: &K) {
        self.invalidations.invalidate(self.hasher.hash_one(key));
        self.remove(key);
    }

    /// Removes all responses, including those that are being fetched.
    pub(crate) fn clear(&self) {
        self.invalidations.invalidate_all();
        self.responses.invalidate_all();
    }

    pub(crate) fn lifetime(&self) -> Lifetime {
        *self.lifetime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_lifetime(&self, lifetime: Lifetime) {
        *self.lifetime.lock().unwrap_or_else(PoisonError::into_inner) = lifetime;
    }

    pub(crate) fn snapshot(&self) -> CacheSnapshot {
        self.responses.run_pending_tasks();
        CacheSnapshot {
            entries: self.responses.entry_count(),
            weight: self.responses.weighted_size(),
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
        // Relaxed: no other memory depends on the count.
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
