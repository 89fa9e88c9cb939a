//! The atomics and the lock of a [`WakerSet`](crate::WakerSet): loom's inside a model, the standard ones everywhere else.

#[cfg(not(towerkit_loom))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering, fence},
};

#[cfg(towerkit_loom)]
pub(crate) use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering, fence},
};

use std::sync::PoisonError;

/// Locks, also after a panic: nothing is left half done under these locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
