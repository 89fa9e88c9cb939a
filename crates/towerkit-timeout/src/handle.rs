use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::InvalidTimeout;

/// Reads and changes a timeout while it runs.
#[derive(Debug, Clone)]
pub struct TimeoutHandle(Arc<AtomicU64>);

impl TimeoutHandle {
    pub(crate) fn new(timeout: Duration) -> Result<Self, InvalidTimeout> {
        let nanos = InvalidTimeout::check(timeout)?;
        Ok(Self(Arc::new(AtomicU64::new(nanos))))
    }

    /// Returns the timeout.
    #[inline(always)]
    #[must_use]
    pub fn timeout(&self) -> Duration {
        // Relaxed: the word guards nothing but itself.
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// Gives calls that start from now on another timeout.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a year; the old one stays then.
    pub fn change(&self, timeout: Duration) -> Result<(), InvalidTimeout> {
        let nanos = InvalidTimeout::check(timeout)?;
        self.0.store(nanos, Ordering::Relaxed);
        Ok(())
    }
}
