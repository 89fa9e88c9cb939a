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

/// The answers of a layer, by key, within its capacity.
pub(crate) struct Store<K> {
    kept: Cache<Arc<K>, Kept>,
    capacity: Capacity,
    /// Read when an answer is kept, and not when it is found.
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

    /// Answers from what is kept; otherwise there is a call to make, perhaps with the claim to fetch what comes next.
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

    /// Answers a call that failed from what is kept by then.
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

    /// Finds what is kept for a key, and was not thrown away with all others.
    ///
    /// Its type may be another than the caller's: one layer stands around services with different responses, whose keys are equal
    /// all the same.
    fn find(&self, key: &K) -> Option<Kept> {
        let entry = self.kept.get(key)?;
        self.epochs.is_of(entry.generation).then_some(entry)
    }

    /// Takes note of the moment at which an answer is asked for.
    pub(crate) fn stamp(&self, key: &K) -> Stamp {
        self.epochs.stamp(self.hasher.hash_one(key))
    }

    /// Keeps an answer of so many bytes that was asked for at `stamp`, unless its key was invalidated since.
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

    /// Throws an answer away that has been overtaken by another.
    pub(crate) fn discard(&self, key: &K) {
        self.kept.invalidate(key);
    }

    /// Throws an answer away, and those that are being fetched.
    pub(crate) fn invalidate(&self, key: &K) {
        self.epochs.end(self.hasher.hash_one(key));
        self.discard(key);
    }

    /// Throws all answers away, and those that are being fetched.
    pub(crate) fn clear(&self) {
        self.epochs.end_all();
        self.kept.invalidate_all();
    }

    pub(crate) fn lifetime(&self) -> Lifetime {
        *self.lifetime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change(&self, lifetime: Lifetime) {
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

/// A figure for people to read.
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
    /// How many answers are kept, those among them whose time is over.
    pub entries: u64,
    /// What they weigh, in the unit of the capacity.
    pub weight: u64,
    /// How many callers got an answer within its time.
    pub hits: u64,
    /// How many callers got an answer after its time.
    pub stale: u64,
    /// How many callers made a call for an answer to keep.
    pub misses: u64,
}
