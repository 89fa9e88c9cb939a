use std::{fmt, hash::Hash, sync::Arc};

use crate::call_table::CallTable;

/// Reads the figures of a [`CoalesceLayer`](crate::CoalesceLayer) at run time.
pub struct CoalesceHandle<K>(pub(crate) Arc<CallTable<K>>);

impl<K: Hash + Eq> CoalesceHandle<K> {
    /// Returns the figures.
    #[must_use]
    pub fn snapshot(&self) -> CoalesceSnapshot {
        self.0.snapshot()
    }
}

impl<K> Clone for CoalesceHandle<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Hash + Eq> fmt::Debug for CoalesceHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CoalesceHandle")
            .field(&self.snapshot())
            .finish()
    }
}

/// The figures of a [`CoalesceLayer`](crate::CoalesceLayer) at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoalesceSnapshot {
    /// The calls in flight for which others can wait.
    pub in_flight: usize,
    /// The calls of the inner service so far, without those that have no key.
    pub calls: u64,
    /// The callers that got the response to another's call.
    pub shared: u64,
}
