use std::{any::Any, sync::Arc};

use crate::{
    freshness::Expiry,
    sync::{AtomicBool, Ordering},
};

/// A cached response. Its type is that of the service, which the layer does not know.
pub(crate) type CachedResponse = Arc<Entry<dyn Any + Send + Sync>>;

#[derive(Debug)]
pub(crate) struct Entry<V: ?Sized> {
    pub(crate) expiry: Expiry,
    pub(crate) weight: u32,
    /// See [`Invalidations`](crate::invalidations::Invalidations).
    pub(crate) generation: u64,
    /// True while a caller fetches the next response.
    claimed: AtomicBool,
    pub(crate) value: V,
}

impl<V> Entry<V> {
    pub(crate) fn new(value: V, expiry: Expiry, weight: u32, generation: u64) -> Self {
        Self {
            expiry,
            weight,
            generation,
            claimed: AtomicBool::new(false),
            value,
        }
    }
}

/// The exclusive right to fetch the response that replaces a stale one. Dropping it releases the right.
#[derive(Debug)]
pub(crate) struct FetchClaim<V: ?Sized = dyn Any + Send + Sync>(Arc<Entry<V>>);

impl<V: ?Sized> FetchClaim<V> {
    /// Claims the fetch; `None` if another caller has claimed it.
    pub(crate) fn take(entry: &Arc<Entry<V>>) -> Option<Self> {
        // Acquire pairs with the Release of `drop`: the next claimant sees everything that the previous one did.
        let was_claimed = entry.claimed.swap(true, Ordering::Acquire);
        (!was_claimed).then(|| Self(entry.clone()))
    }
}

impl<V: ?Sized> Drop for FetchClaim<V> {
    fn drop(&mut self) {
        self.0.claimed.store(false, Ordering::Release);
    }
}
