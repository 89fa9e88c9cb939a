use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// The state that the services of a layer share, while setters of the layer may still replace it.
///
/// A setter makes a new state. A [handle](Self::handle) that was taken before follows the layer to the new state, so that the order
/// of `handle()` and the setters does not matter. A clone that is changed, and a layer that is changed after it has made a service,
/// get a state of their own; the handle keeps the old state.
///
/// Clones of `T` are cheap and share their contents, such as those of an [`Arc`].
pub struct LayerState<T> {
    slot: Arc<Slot<T>>,
    /// Counts the clones of this layer; handles do not count.
    layers: Arc<()>,
}

struct Slot<T> {
    state: Mutex<T>,
    is_used: AtomicBool,
}

impl<T> Slot<T> {
    fn state(&self) -> MutexGuard<'_, T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> LayerState<T> {
    /// Makes the state of a new layer.
    pub fn new(state: T) -> Self {
        let state = Mutex::new(state);
        let is_used = AtomicBool::new(false);
        Self {
            slot: Arc::new(Slot { state, is_used }),
            layers: Arc::new(()),
        }
    }

    /// Returns the state.
    #[must_use]
    pub fn get(&self) -> T {
        self.slot.state().clone()
    }

    /// Returns the state for a service, and [marks it as used](Self::mark_used).
    #[must_use]
    pub fn share(&self) -> T {
        self.mark_used();
        self.get()
    }

    /// Marks the state as used by a service: a later setter begins a new state.
    pub fn mark_used(&self) {
        self.slot.is_used.store(true, Ordering::Relaxed);
    }

    /// Replaces the state, also for the handles unless another layer or a service uses it.
    pub fn replace(&mut self, state: T) {
        if Arc::strong_count(&self.layers) == 1 && !self.slot.is_used.load(Ordering::Relaxed) {
            *self.slot.state() = state;
        } else {
            *self = Self::new(state);
        }
    }

    /// [Replaces](Self::replace) the state by a changed copy.
    pub fn update(&mut self, change: impl FnOnce(&mut T)) {
        let mut state = self.get();
        change(&mut state);
        self.replace(state);
    }

    /// Returns a handle that follows this layer through later setters.
    #[must_use]
    pub fn handle(&self) -> StateHandle<T> {
        StateHandle(Arc::clone(&self.slot))
    }
}

impl<T> Clone for LayerState<T> {
    fn clone(&self) -> Self {
        Self {
            slot: Arc::clone(&self.slot),
            layers: Arc::clone(&self.layers),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for LayerState<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.slot.state().fmt(f)
    }
}

/// A handle of the state of a layer; see [`LayerState`].
pub struct StateHandle<T>(Arc<Slot<T>>);

impl<T: Clone> StateHandle<T> {
    /// Returns the state of the layer from which the handle was taken.
    #[must_use]
    pub fn get(&self) -> T {
        self.0.state().clone()
    }
}

impl<T> Clone for StateHandle<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for StateHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.state().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::LayerState;

    #[test]
    fn a_handle_follows_later_setters() {
        let mut layer = LayerState::new(1);
        let handle = layer.handle();
        layer.update(|state| *state = 2);
        assert_eq!(handle.get(), 2);
    }

    #[test]
    fn a_changed_clone_leaves_the_handle_with_the_original() {
        let layer = LayerState::new(1);
        let handle = layer.handle();
        let mut clone = layer.clone();
        clone.replace(2);
        assert_eq!((layer.get(), clone.get(), handle.get()), (1, 2, 1));
    }

    #[test]
    fn a_handle_stays_with_the_services() {
        let mut layer = LayerState::new(1);
        let handle = layer.handle();
        let service = layer.share();
        layer.replace(2);
        assert_eq!(handle.get(), service);
        assert_eq!(layer.get(), 2);
    }
}
