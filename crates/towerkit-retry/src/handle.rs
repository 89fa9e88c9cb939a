use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use towerkit_core::{ConfigError, StateHandle};

use crate::{
    BudgetSnapshot,
    backoff::Backoff,
    config::{Config, checked_attempts},
};

/// Reads and changes the retries of a [`RetryLayer`](crate::RetryLayer) while it runs.
#[derive(Debug, Clone)]
pub struct RetryHandle(pub(crate) StateHandle<Arc<Config>>);

impl RetryHandle {
    /// Returns the counts so far.
    #[must_use]
    pub fn snapshot(&self) -> RetrySnapshot {
        let config = self.0.get();
        RetrySnapshot {
            retries: config.retries.load(Ordering::Relaxed),
            exhausted: config.exhausted.load(Ordering::Relaxed),
            budget: config.budget.snapshot(),
        }
    }

    /// Limits the attempts of calls that start from now on; 1 turns retries off.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for 0, and leaves the old limit in place.
    pub fn set_attempts(&self, attempts: u8) -> Result<(), ConfigError> {
        let attempts = checked_attempts(attempts)?;
        self.0.get().attempts.store(attempts, Ordering::Relaxed);
        Ok(())
    }

    /// Sets the delays from the next retry on, see [`RetryLayer::backoff`](crate::RetryLayer::backoff).
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] as the setter of the layer does, and leaves the old delays in place.
    pub fn set_backoff(&self, base: Duration, cap: Duration) -> Result<(), ConfigError> {
        self.0.get().set_backoff(Backoff::new(base, cap)?);
        Ok(())
    }
}

/// The counts of a [`RetryLayer`](crate::RetryLayer) at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrySnapshot {
    /// The number of retries.
    pub retries: u64,
    /// The number of retries not made because the budget was used up.
    pub exhausted: u64,
    /// The state of the budget, which other layers may share.
    pub budget: BudgetSnapshot,
}
