use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How many spans of the batch that is being sent the receiver has rejected: what an exporter cannot say in its result.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rejected(Arc<AtomicU64>);

impl Rejected {
    #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
    pub(crate) fn add(&self, count: u64) {
        // Relaxed: one task writes and reads it.
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}
