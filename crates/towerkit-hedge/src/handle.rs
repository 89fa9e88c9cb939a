use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::{ConfigError, StateHandle};

use crate::{Percentile, allowance::Terms, percentile::Bounds, state::State};

/// Reads and changes what a [`HedgeLayer`](crate::HedgeLayer) does while it runs.
#[derive(Clone)]
pub struct HedgeHandle(StateHandle<Arc<State>>);

/// What a [`HedgeLayer`](crate::HedgeLayer) has done, and what it would do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Calls that could have been hedged.
    pub calls: u64,
    /// Hedges that were sent: requests on top of those calls.
    pub hedges: u64,
    /// Calls that a hedge answered.
    pub wins: u64,
    /// Hedges that were due and that the cap or the budget did not allow.
    pub rejected: u64,
    /// Hedges that the cap would allow at once.
    pub available: u32,
    /// How long a call that begins now waits before it is hedged.
    pub delay: Duration,
}

impl HedgeHandle {
    pub(crate) fn new(state: StateHandle<Arc<State>>) -> Self {
        Self(state)
    }

    /// Returns what has been done so far.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.get().snapshot()
    }

    /// Hedges calls that start from now on after a fixed delay.
    ///
    /// # Errors
    ///
    /// If it is less than a microsecond or more than 71 minutes; the old one stays then.
    pub fn hedge_after(&self, delay: Duration) -> Result<(), ConfigError> {
        self.0.get().delay.fix(Bounds::fixed(delay)?);
        Ok(())
    }

    /// Hedges calls that start from now on at a percentile.
    pub fn hedge_at(&self, percentile: Percentile) {
        self.0.get().delay.follow(percentile);
    }

    /// Changes the cap, see [`HedgeLayer::cap`](crate::HedgeLayer::cap). What is saved up stays, as far as the new burst allows.
    ///
    /// # Errors
    ///
    /// As there; the old one stays then.
    pub fn cap(&self, ratio: f64, burst: u32) -> Result<(), ConfigError> {
        self.0.get().allowance.change(Terms::new(ratio, burst)?);
        Ok(())
    }
}

impl fmt::Debug for HedgeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HedgeHandle")
            .field(&self.snapshot())
            .finish()
    }
}
