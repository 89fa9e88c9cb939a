use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use towerkit_core::Outcome;

/// Reads and switches a fallback while it runs.
#[derive(Debug, Clone)]
pub struct FallbackHandle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    answered: AtomicU64,
    failed: AtomicU64,
    unrepeatable: AtomicU64,
    is_disabled: AtomicBool,
}

/// How often a fallback was asked, see [`FallbackHandle::snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The failed calls to which the fallback had a successful answer.
    pub answered: u64,
    /// The failed calls to which it had none: its own error or failed response was returned.
    pub failed: u64,
    /// The failed calls for which another service would have been called, had there been anything left to call it with.
    pub unrepeatable: u64,
    /// Whether failures get another answer at present.
    pub enabled: bool,
}

// Relaxed throughout: each word stands for itself.
impl FallbackHandle {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Returns the counts since the layer was made.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            answered: self.0.answered.load(Ordering::Relaxed),
            failed: self.0.failed.load(Ordering::Relaxed),
            unrepeatable: self.0.unrepeatable.load(Ordering::Relaxed),
            enabled: self.is_enabled(),
        }
    }

    /// Lets failures pass as they are, from now on.
    pub fn disable(&self) {
        self.0.is_disabled.store(true, Ordering::Relaxed);
    }

    /// Gives failures another answer again, as at the start.
    pub fn enable(&self) {
        self.0.is_disabled.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_enabled(&self) -> bool {
        !self.0.is_disabled.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, answer: Outcome) {
        let counter = match answer {
            Outcome::Success => &self.0.answered,
            _ => &self.0.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_unrepeatable(&self) {
        self.0.unrepeatable.fetch_add(1, Ordering::Relaxed);
    }
}
