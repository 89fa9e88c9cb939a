//! The atomics and the lock of the state machine: loom's inside a model, the standard ones everywhere else.

#[cfg(towerkit_loom)]
pub(crate) use loom::sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64, Ordering},
};
#[cfg(not(towerkit_loom))]
pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64, Ordering},
};
