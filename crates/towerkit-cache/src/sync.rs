//! The atomics of what is kept: loom's inside a model, the standard ones everywhere else.

#[cfg(not(towerkit_loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

#[cfg(towerkit_loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
