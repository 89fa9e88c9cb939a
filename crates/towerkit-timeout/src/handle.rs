use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use towerkit_core::ConfigError;

/// Reads and changes a timeout at run time.
///
/// Returned by [`TimeoutLayer::handle`](crate::TimeoutLayer::handle) and [`DeadlineLayer::handle`](crate::DeadlineLayer::handle).
#[derive(Debug, Clone)]
pub struct TimeoutHandle(Arc<AtomicU64>);

impl TimeoutHandle {
    pub(crate) fn new(timeout: Duration) -> Result<Self, ConfigError> {
        let nanos = ConfigError::check_duration("timeout", timeout)?;
        Ok(Self(Arc::new(AtomicU64::new(nanos))))
    }

    /// Returns the timeout.
    #[inline(always)]
    #[must_use]
    pub fn timeout(&self) -> Duration {
        // Relaxed: the word guards no other data.
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// Sets the timeout of calls that start from now on.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`], and keeps the old timeout, if the new one is zero or longer than 365 days.
    pub fn set_timeout(&self, timeout: Duration) -> Result<(), ConfigError> {
        let nanos = ConfigError::check_duration("timeout", timeout)?;
        self.0.store(nanos, Ordering::Relaxed);
        Ok(())
    }
}
