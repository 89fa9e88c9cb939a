use std::{fmt, sync::Arc};

use towerkit_core::{ConfigError, Name, StateHandle};

use crate::{permits::Permits, state::LimitState};

/// Reads and changes the limit of a running [`ConcurrencyLimitLayer`](crate::ConcurrencyLimitLayer).
///
/// Returned by [`ConcurrencyLimitLayer::handle`](crate::ConcurrencyLimitLayer::handle).
#[derive(Clone)]
pub struct ConcurrencyLimitHandle(pub(crate) StateHandle<Arc<LimitState>>);

/// The state of a concurrency limit at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConcurrencyLimitSnapshot {
    /// The current limit.
    pub limit: u32,
    /// The calls in flight: admitted, and not yet at the end of their response body.
    pub in_flight: u32,
    /// The calls that wait in the [`Queue`](crate::Queue).
    pub waiting: u32,
    /// The total number of rejected calls.
    pub rejected: u64,
}

impl ConcurrencyLimitHandle {
    /// Returns the [name](crate::ConcurrencyLimitLayer::name) of the limit.
    #[must_use]
    pub fn name(&self) -> Name {
        self.0.get().config.name.clone()
    }

    /// Returns the current state.
    #[must_use]
    pub fn snapshot(&self) -> ConcurrencyLimitSnapshot {
        let shared = self.0.get();
        let state = shared.limiter.state();
        ConcurrencyLimitSnapshot {
            limit: state.limit(),
            in_flight: state.in_flight(),
            waiting: shared.limiter.waiting(),
            rejected: shared.events.rejections(),
        }
    }

    /// Sets the limit. An adaptive limit continues from the new value, within its bounds.
    ///
    /// Calls in flight continue. If they exceed the new limit, further calls are rejected, or wait, until enough of them have ended.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the limit is not 1 to 2 147 483 647.
    pub fn set_limit(&self, limit: u32) -> Result<(), ConfigError> {
        check_limit(limit)?;
        self.0.get().set_limit(limit);
        Ok(())
    }
}

pub(crate) fn check_limit(limit: u32) -> Result<(), ConfigError> {
    if limit == 0 || limit > Permits::MAX {
        return Err(ConfigError::new("limit", limit, "1 to 2147483647"));
    }
    Ok(())
}

impl fmt::Debug for ConcurrencyLimitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConcurrencyLimitHandle")
            .field(&self.snapshot())
            .finish()
    }
}
