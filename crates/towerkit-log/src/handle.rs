use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use towerkit_core::StateHandle;
use tracing::level_filters::LevelFilter;

use crate::{Sampling, sampling::Sampler};

/// Reads and changes the level and the sampling of a [`LogLayer`](crate::LogLayer) while it runs.
///
/// Events that the `tracing` subscriber disables are not logged in any case. To get a handle, call
/// [`LogLayer::handle`](crate::LogLayer::handle).
#[derive(Debug, Clone)]
pub struct LogHandle(pub(crate) StateHandle<Arc<Selection>>);

impl LogHandle {
    /// Returns the current settings and counts.
    #[must_use]
    pub fn snapshot(&self) -> LogSnapshot {
        let selection = self.0.get();
        LogSnapshot {
            level: selection.threshold.get(),
            sampling: selection.sampler.sampling(),
            left_out: selection.sampler.left_out(),
        }
    }

    /// Sets the least severe level that is logged, for calls that end from now on.
    ///
    /// Calls that start while the level is [`LevelFilter::OFF`] are never logged.
    pub fn set_level(&self, level: impl Into<LevelFilter>) {
        self.0.get().threshold.set(level.into());
    }

    /// Sets the [`Sampling`] of calls that end from now on. The count of calls left out continues.
    pub fn set_sampling(&self, sampling: Sampling) {
        self.0.get().sampler.set_sampling(sampling);
    }
}

/// The settings and counts of a [`LogLayer`](crate::LogLayer), as [`LogHandle::snapshot`] returns them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogSnapshot {
    /// The least severe level that is logged; [`LevelFilter::TRACE`] by default, which logs every call.
    pub level: LevelFilter,
    /// The sampling of calls.
    pub sampling: Sampling,
    /// The number of calls that the [`Sampling`] has left out since the start.
    pub left_out: u64,
}

/// The level and the sampling that a [`LogLayer`](crate::LogLayer), its services and its [`LogHandle`] share.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) threshold: Threshold,
    pub(crate) sampler: Sampler,
}

impl Selection {
    /// Selects all calls.
    pub(crate) const fn all() -> Self {
        Self {
            threshold: Threshold::all(),
            sampler: Sampler::new(),
        }
    }
}

/// The least severe level that is logged, as an atomic index into [`FILTERS`].
pub(crate) struct Threshold(AtomicU8);

const FILTERS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

impl Threshold {
    const fn all() -> Self {
        Self(AtomicU8::new(FILTERS.len() as u8 - 1))
    }

    pub(crate) fn get(&self) -> LevelFilter {
        // Relaxed, here and below: no other data depends on the level.
        FILTERS[usize::from(self.0.load(Ordering::Relaxed))]
    }

    pub(crate) fn set(&self, filter: LevelFilter) {
        let index = FILTERS.iter().position(|other| *other == filter);
        // The list contains every filter.
        self.0.store(index.unwrap_or(0) as u8, Ordering::Relaxed);
    }
}

impl fmt::Debug for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
