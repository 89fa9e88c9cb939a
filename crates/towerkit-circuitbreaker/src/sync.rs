//! The atomics and the lock of the state machine: loom's inside a model, the standard ones everywhere else.

#[cfg(not(towerkit_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

#[cfg(towerkit_loom)]
pub(crate) use self::watched::{AtomicU32, AtomicU64};
#[cfg(towerkit_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::Ordering};

/// loom's atomics, whose loads can be made to count as writes.
///
/// loom 0.7 keeps the last access to an atomic only. If one thread loads and then another one loads and writes, it does not see that
/// the write could have come first, and leaves that order out. A load that counts as a write is never left out, but it always
/// reads the latest value. Models therefore run both ways.
///
/// Nor does it see that nothing comes between what a read-modify-write reads and what it writes: it lets a store of another thread
/// fall in there, as it were. A store is therefore a swap.
#[cfg(towerkit_loom)]
pub(crate) mod watched {
    use std::{cell::Cell, ops::Deref};

    use super::Ordering;

    thread_local! {
        pub(crate) static LOADS_COUNT_AS_WRITES: Cell<bool> = const { Cell::new(false) };
    }

    macro_rules! watched {
        ($name:ident, $value:ty) => {
            pub(crate) struct $name(loom::sync::atomic::$name);

            impl $name {
                pub(crate) fn new(value: $value) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }

                pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                    self.0.swap(value, ordering);
                }

                pub(crate) fn load(&self, ordering: Ordering) -> $value {
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
