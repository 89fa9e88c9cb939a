//! The atomics of the standard library, or those that loom can put in every order.

#[cfg(not(towerkit_loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(towerkit_loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
