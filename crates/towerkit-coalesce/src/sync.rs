//! The lock and the counted reference of a flight: loom's inside a model, the standard ones everywhere else.

#[cfg(not(towerkit_loom))]
pub(crate) use std::sync::{Arc as Counted, Mutex, MutexGuard};

#[cfg(towerkit_loom)]
pub(crate) use loom::sync::{Arc as Counted, Mutex, MutexGuard};

use std::sync::PoisonError;

/// Locks, also what a panic has left locked: nothing here is left half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
