use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use towerkit_core::Outcome;

/// Reads the figures of a [`FallbackLayer`](crate::FallbackLayer) and switches it at run time.
#[derive(Debug, Clone)]
pub struct FallbackHandle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    answered: AtomicU64,
    failed: AtomicU64,
    not_replayable: AtomicU64,
    is_disabled: AtomicBool,
}

/// The figures of a [`FallbackLayer`](crate::FallbackLayer) at one moment; see [`FallbackHandle::snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FallbackSnapshot {
    /// The failed calls for which the fallback succeeded.
    pub answered: u64,
    /// The failed calls for which the fallback failed, too.
    pub failed: u64,
    /// The failed calls without a fallback, because their request could not be [replayed](towerkit_core::ReplayRequest).
    pub not_replayable: u64,
    /// True if the fallback is enabled.
    pub enabled: bool,
}

// Relaxed throughout: each word guards no other data.
impl FallbackHandle {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Returns the figures since the layer was made.
    #[must_use]
    pub fn snapshot(&self) -> FallbackSnapshot {
        FallbackSnapshot {
            answered: self.0.answered.load(Ordering::Relaxed),
            failed: self.0.failed.load(Ordering::Relaxed),
            not_replayable: self.0.not_replayable.load(Ordering::Relaxed),
            enabled: self.is_enabled(),
        }
    }

    /// Disables the fallback: failures are returned unchanged from now on.
    pub fn disable(&self) {
        self.0.is_disabled.store(true, Ordering::Relaxed);
    }

    /// Enables the fallback again; it is enabled at first.
    pub fn enable(&self) {
        self.0.is_disabled.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_enabled(&self) -> bool {
        !self.0.is_disabled.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, response: Outcome) {
        let counter = match response {
            Outcome::Success => &self.0.answered,
            _ => &self.0.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_not_replayable(&self) {
        self.0.not_replayable.fetch_add(1, Ordering::Relaxed);
    }
}
