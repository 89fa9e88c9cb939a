use std::{fmt, hash::Hash, sync::Arc};

use crate::call_table::{CallTable, CoalesceSnapshot};

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
