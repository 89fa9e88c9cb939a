//! The atomics of the standard library, or those of loom, which explores their interleavings.

#[cfg(not(towerkit_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(towerkit_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
