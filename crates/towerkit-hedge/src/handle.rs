use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::{ConfigError, StateHandle};

use crate::{Percentile, percentile::Bounds, state::State, token_bucket::Cap};

/// Reads and changes a [`HedgeLayer`](crate::HedgeLayer) at run time.
#[derive(Clone)]
pub struct HedgeHandle(StateHandle<Arc<State>>);

/// The figures of a [`HedgeLayer`](crate::HedgeLayer) at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HedgeSnapshot {
    /// The hedgeable calls so far.
    pub calls: u64,
    /// The hedges sent so far, in addition to those calls.
    pub hedges: u64,
    /// The calls that ended with the response of a hedge.
    pub wins: u64,
    /// The hedges that the cap or the budget did not allow.
    pub rejected: u64,
    /// The hedges that the cap would allow now.
    pub available: u32,
    /// The delay before a hedge of a call that begins now.
    pub delay: Duration,
}

impl HedgeSnapshot {
    pub(crate) fn of(state: &State) -> Self {
        Self {
            calls: state.calls.get(),
            hedges: state.hedges.get(),
            wins: state.wins.get(),
            rejected: state.rejected.get(),
            available: state.tokens.available(),
            delay: state.current_delay(),
        }
    }
}

impl HedgeHandle {
    pub(crate) fn new(state: StateHandle<Arc<State>>) -> Self {
        Self(state)
    }

    /// Returns the figures.
    #[must_use]
    pub fn snapshot(&self) -> HedgeSnapshot {
        HedgeSnapshot::of(&self.0.get())
    }

    /// Sets a fixed delay for calls that start from now on.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`], and keeps the old delay, if the new one is shorter than 1 µs or longer than 71 minutes.
    pub fn set_delay(&self, delay: Duration) -> Result<(), ConfigError> {
        self.0.get().delay.set_fixed(Bounds::fixed(delay)?);
        Ok(())
    }

    /// Sets a [percentile](Percentile) as the delay of calls that start from now on.
    pub fn set_percentile(&self, percentile: Percentile) {
        self.0.get().delay.set_percentile(percentile);
    }

    /// Sets the [cap](crate::HedgeLayer::cap). Unused hedges are kept, up to the new burst.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`], and keeps the old cap, for the values that [`HedgeLayer::cap`](crate::HedgeLayer::cap) does not accept.
    pub fn set_cap(&self, ratio: f64, burst: u32) -> Result<(), ConfigError> {
        self.0.get().tokens.set_cap(Cap::new(ratio, burst)?);
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
