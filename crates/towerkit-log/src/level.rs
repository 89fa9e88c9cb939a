use std::{
    fmt,
    sync::atomic::{AtomicU8, Ordering},
};

use towerkit_core::{CallEnd, Outcome};
use tracing::{Level, level_filters::LevelFilter};

/// Returns the level of a call that ended so; the table stands in the [crate docs](crate#levels).
#[must_use]
pub fn level_of(end: &CallEnd) -> Level {
    if end.has_panicked() {
        return Level::ERROR;
    }
    match end.outcome() {
        Outcome::Success | Outcome::ClientError | Outcome::Cancelled => Level::INFO,
        Outcome::Failure => Level::ERROR,
        // Overloaded, timed out, and what there may be later.
        _ => Level::WARN,
    }
}

/// The least level that is logged, which may change while calls run.
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
    pub(crate) const fn all() -> Self {
        Self(AtomicU8::new(FILTERS.len() as u8 - 1))
    }

    pub(crate) fn get(&self) -> LevelFilter {
        // Relaxed, here and below: the level guards nothing but itself.
        FILTERS[usize::from(self.0.load(Ordering::Relaxed))]
    }

    pub(crate) fn set(&self, filter: LevelFilter) {
        let index = FILTERS.iter().position(|other| *other == filter);
        // Every filter is in the list.
        self.0.store(index.unwrap_or(0) as u8, Ordering::Relaxed);
    }
}

impl fmt::Debug for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
