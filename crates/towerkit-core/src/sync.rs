//! The atomics and locks of towerkit's crates: the standard library's, or [`loom`](https://docs.rs/loom)'s while a model runs.

#[cfg(not(towerkit_loom))]
pub use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(towerkit_loom)]
pub use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

use std::sync::PoisonError;

/// Locks a [`Mutex`], also after a panic: for values that are consistent between any two statements.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same items, with atomics whose loads can be made to count as writes while a model runs.
///
/// loom 0.7 records only the last access to an atomic. If one thread loads and then another thread loads and writes, loom does not
/// try the order in which the write comes first. A load that counts as a write is always ordered, but it reads the latest value.
/// Models therefore run in both modes.
///
/// loom also lets the store of another thread happen between the read and the write of one read-modify-write operation. A store is
/// therefore a swap.
#[cfg(not(towerkit_loom))]
pub mod watched {
    pub use super::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering, lock};
}

#[cfg(towerkit_loom)]
pub mod watched {
    use std::{cell::Cell, ops::Deref};

    pub use super::{Mutex, MutexGuard, Ordering, lock};

    thread_local! {
        /// True while loads count as writes.
        pub static LOADS_COUNT_AS_WRITES: Cell<bool> = const { Cell::new(false) };
    }

    macro_rules! watched {
        ($name:ident, $value:ty) => {
            /// An atomic integer of loom.
            #[derive(Debug)]
            pub struct $name(loom::sync::atomic::$name);

            impl $name {
                /// Makes an atomic integer.
                pub fn new(value: $value) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }

                /// Stores a value.
                pub fn store(&self, value: $value, ordering: Ordering) {
                    self.0.swap(value, ordering);
                }

                /// Loads the value.
                pub fn load(&self, ordering: Ordering) -> $value {
                    if LOADS_COUNT_AS_WRITES.get() {
                        self.0.fetch_add(0, ordering)
                    } else {
                        self.0.load(ordering)
                    }
                }
            }

            impl Deref for $name {
                type Target = loom::sync::atomic::$name;

                fn deref(&self) -> &Self::Target {
                    &self.0
                }
            }
        };
    }

    watched!(AtomicU32, u32);
    watched!(AtomicU64, u64);
}
