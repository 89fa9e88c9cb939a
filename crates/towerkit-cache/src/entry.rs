use std::{any::Any, sync::Arc};

use crate::{
    freshness::Terms,
    sync::{AtomicBool, Ordering},
};

/// An answer that is kept. Its type is that of the service, which the layer does not know.
pub(crate) type Kept = Arc<Entry<dyn Any + Send + Sync>>;

#[derive(Debug)]
pub(crate) struct Entry<V: ?Sized> {
    pub(crate) terms: Terms,
    pub(crate) weight: u32,
    /// See [`Epochs`](crate::epochs::Epochs).
    pub(crate) generation: u64,
    /// Whether a caller is fetching the next.
    claimed: AtomicBool,
    pub(crate) value: V,
}

impl<V> Entry<V> {
    pub(crate) fn new(value: V, terms: Terms, weight: u32, generation: u64) -> Self {
        Self {
            terms,
            weight,
            generation,
            claimed: AtomicBool::new(false),
            value,
        }
    }
}

/// The right, and the duty, to fetch what comes after an answer. Dropping it leaves that to the next caller.
#[derive(Debug)]
pub(crate) struct Claim<V: ?Sized = dyn Any + Send + Sync>(Arc<Entry<V>>);

impl<V: ?Sized> Claim<V> {
    /// Claims it, unless another has.
    pub(crate) fn take(entry: &Arc<Entry<V>>) -> Option<Self> {
        // Nothing else is read through the flag: Relaxed would do, but who takes over sees all that was done under the last claim.
        let was_claimed = entry.claimed.swap(true, Ordering::Acquire);
        (!was_claimed).then(|| Self(entry.clone()))
    }
}

impl<V: ?Sized> Drop for Claim<V> {
    fn drop(&mut self) {
        self.0.claimed.store(false, Ordering::Release);
    }
}
