use std::sync::Arc;

use towerkit_core::{Notified, WakerSet};

use cell::ArcCell;

/// A value that is replaced as a whole, and the calls that wait for its next replacement.
///
/// A reader takes no lock. No wake-up is lost: after [`replaced`](Self::replaced), a reader either [loads](Self::load) the new value or
/// is woken.
pub(crate) struct SnapshotCell<T> {
    current: ArcCell<T>,
    waiting: WakerSet,
}

impl<T> SnapshotCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            current: ArcCell::new(Arc::new(value)),
            waiting: WakerSet::new(),
        }
    }

    /// Returns the current value.
    #[inline(always)]
    pub(crate) fn load(&self) -> cell::Loaded<T> {
        self.current.load()
    }

    /// Replaces the value, wakes all calls that wait for it, and returns the old one.
    pub(crate) fn replace(&self, value: T) -> Arc<T> {
        let old = self.current.swap(Arc::new(value));
        self.waiting.wake_all();
        old
    }

    /// Begins to wait for the next replacement. Load the value after this call, not before.
    pub(crate) fn replaced(&self) -> Notified {
        self.waiting.notified()
    }
}

#[cfg(not(towerkit_loom))]
mod cell {
    use std::sync::Arc;

    use arc_swap::{ArcSwap, Guard};

    pub(crate) type Loaded<T> = Guard<Arc<T>>;

    pub(super) struct ArcCell<T>(ArcSwap<T>);

    impl<T> ArcCell<T> {
        pub(super) fn new(value: Arc<T>) -> Self {
            Self(ArcSwap::new(value))
        }

        #[inline(always)]
        pub(super) fn load(&self) -> Loaded<T> {
            self.0.load()
        }

        pub(super) fn swap(&self, value: Arc<T>) -> Arc<T> {
            self.0.swap(value)
        }
    }
}

/// loom does not see through `arc-swap`: a lock takes its place in models.
#[cfg(towerkit_loom)]
mod cell {
    use std::sync::Arc;

    use towerkit_core::sync::{Mutex, lock};

    pub(crate) type Loaded<T> = Arc<T>;

    pub(super) struct ArcCell<T>(Mutex<Arc<T>>);

    impl<T> ArcCell<T> {
        pub(super) fn new(value: Arc<T>) -> Self {
            Self(Mutex::new(value))
        }

        pub(super) fn load(&self) -> Loaded<T> {
            Arc::clone(&lock(&self.0))
        }

        pub(super) fn swap(&self, value: Arc<T>) -> Arc<T> {
            std::mem::replace(&mut *lock(&self.0), value)
        }
    }
}
