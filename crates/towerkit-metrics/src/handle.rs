use std::sync::Arc;

use towerkit_core::StateHandle;

use crate::observer::MetricsState;

/// Reads the state of a [`MetricsLayer`](crate::MetricsLayer) and its services. Clones read the same state.
#[derive(Debug, Clone)]
pub struct MetricsHandle(pub(crate) StateHandle<Arc<MetricsState>>);

/// The state of a [`MetricsLayer`](crate::MetricsLayer) at one moment; returned by [`MetricsHandle::snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// The number of operations with series of their own; over HTTP, of pairs of operation and method.
    pub operations: usize,
    /// The number of calls that were recorded as `_OTHER` because of [`max_operations`](crate::MetricsLayer::max_operations).
    pub overflowed: u64,
}

impl MetricsHandle {
    /// Returns the current state.
    #[must_use]
    pub fn snapshot(&self) -> MetricsSnapshot {
        let state = self.0.get();
        MetricsSnapshot {
            operations: state.operations(),
            overflowed: state.overflowed(),
        }
    }
}
