//! The atomics of the state machines: loom's inside a model, the standard ones everywhere else.

#[cfg(towerkit_loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(not(towerkit_loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
