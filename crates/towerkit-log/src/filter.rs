//! The filter of a [`LogSubscriber`](crate::LogSubscriber), which a [`TargetsHandle`] replaces at run time.

use std::{
    cell::RefCell,
    fmt,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64 as Versions, Ordering},
    },
};

use tracing::{
    Metadata, Subscriber, callsite::rebuild_interest_cache, level_filters::LevelFilter,
    subscriber::Interest,
};
use tracing_subscriber::{Layer, Registry, filter::Targets, layer::Context};

use crate::sync::{AtomicU64, Mutex};

/// Reads and changes the [`Targets`] that a [`LogSubscriber`](crate::LogSubscriber) writes, while it runs.
///
/// ```
/// use towerkit_log::{Format, Targets};
///
/// let subscriber = towerkit_log::subscriber(Format::Logfmt);
/// let handle = subscriber.handle();
/// # let dispatch = subscriber.dispatch();
/// # tracing::dispatcher::with_default(&dispatch, || {
/// assert!(!tracing::enabled!(target: "shop::orders", tracing::Level::DEBUG));
/// handle.set_targets("info,shop=debug".parse()?);
/// assert!(tracing::enabled!(target: "shop::orders", tracing::Level::DEBUG));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct TargetsHandle(Arc<Reloadable<Targets>>);

impl TargetsHandle {
    pub(crate) fn new(targets: Targets) -> Self {
        Self(Arc::new(Reloadable::new(targets, next_version())))
    }

    /// Returns the current [`Targets`].
    #[must_use]
    pub fn targets(&self) -> Targets {
        Targets::clone(&self.0.load().1)
    }

    /// Replaces the [`Targets`].
    ///
    /// This [rebuilds the interest](rebuild_interest_cache) of every callsite, which takes some microseconds per callsite. Threads that
    /// log do not wait for it.
    pub fn set_targets(&self, targets: Targets) {
        self.replace(targets);
        rebuild_interest_cache();
    }

    /// Replaces the [`Targets`] of a subscriber that is not in use yet.
    pub(crate) fn replace(&self, targets: Targets) {
        self.0.store(targets, next_version());
    }

    /// Returns true if the targets enable the callsite, by the value that this thread has cached.
    fn enables(&self, metadata: &Metadata<'_>) -> bool {
        thread_local! {
            static CACHE: RefCell<CachedValue<Targets>> = RefCell::default();
        }
        let enables = |targets: &Targets| targets.would_enable(metadata.target(), metadata.level());
        let cached = CACHE.try_with(|cache| {
            let mut cache = cache.borrow_mut();
            self.0.refresh(&mut cache);
            enables(&cache.1)
        });
        // An error means that the thread is ending, without a cache.
        cached.unwrap_or_else(|_| enables(&self.0.load().1))
    }
}

/// Returns a version that no value of any handle has had, because a thread caches one value for all handles.
fn next_version() -> u64 {
    static VERSIONS: Versions = Versions::new(1);
    // Relaxed: versions only have to differ.
    VERSIONS.fetch_add(1, Ordering::Relaxed)
}

impl fmt::Debug for TargetsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TargetsHandle")
            .field(&self.0.load().1)
            .finish()
    }
}

/// The [`Layer`] that enables or disables callsites for all layers of a subscriber.
#[derive(Debug)]
pub(crate) struct TargetsFilter(pub(crate) TargetsHandle);

impl<S: Subscriber> Layer<S> for TargetsFilter {
    /// Returns a fixed interest, which `tracing` caches until the targets are replaced.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.0.enables(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    /// Called only if another layer or another subscriber decides for each event.
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.0.enables(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Layer::<Registry>::max_level_hint(&*self.0.0.load().1)
    }
}

/// A value that is read often and replaced rarely.
///
/// Readers cache the value with its version, and take the lock only after the version has changed. Versions are never reused.
struct Reloadable<T> {
    value: Mutex<Arc<T>>,
    version: AtomicU64,
}

/// A version and its value, as a reader caches them.
type CachedValue<T> = (u64, Arc<T>);

impl<T> Reloadable<T> {
    fn new(value: T, version: u64) -> Self {
        Self {
            value: Mutex::new(Arc::new(value)),
            version: AtomicU64::new(version),
        }
    }

    /// Replaces the value.
    fn store(&self, value: T, version: u64) {
        let mut current = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(value);
        // Under the lock, so that each version belongs to one value. Release: pairs with the load in `refresh`.
        self.version.store(version, Ordering::Release);
    }

    /// Returns the current value and its version.
    fn load(&self) -> CachedValue<T> {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        // Relaxed: the version is written only under this lock.
        (self.version.load(Ordering::Relaxed), value.clone())
    }

    /// Updates a cached value if its version is outdated.
    #[inline]
    fn refresh(&self, cache: &mut CachedValue<T>) {
        // Acquire: a thread that sees a version also sees the writes before it.
        if self.version.load(Ordering::Acquire) != cache.0 {
            *cache = self.load();
        }
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_reader_takes_the_lock_only_after_a_change() {
        let value = Reloadable::new("old", 1);
        let mut cache = value.load();
        // A reader that took the lock would find this value.
        *value.value.lock().unwrap() = Arc::new("unseen");
        value.refresh(&mut cache);
        assert_eq!((cache.0, *cache.1), (1, "old"));
        value.store("new", 2);
        value.refresh(&mut cache);
        assert_eq!((cache.0, *cache.1), (2, "new"));
    }
}

#[cfg(all(test, towerkit_loom))]
mod loom_models {
    use loom::{sync::Arc, thread};

    use super::*;

    /// Each version belongs to its value, and a thread that learns of a change never reads the value before it.
    #[test]
    fn loom_a_change_is_complete_for_every_thread_that_learns_of_it() {
        loom::model(|| {
            let value = Arc::new(Reloadable::new(1, 1));
            let announced = Arc::new(AtomicU64::new(1));
            let writer = thread::spawn({
                let (value, announced) = (value.clone(), announced.clone());
                move || {
                    value.store(2, 2);
                    announced.store(2, Ordering::Release);
                }
            });
            let mut cache = value.load();
            for _ in 0..2 {
                let known = announced.load(Ordering::Acquire);
                value.refresh(&mut cache);
                assert_eq!(cache.0, *cache.1);
                assert!(cache.0 >= known, "{} {known}", cache.0);
            }
            writer.join().unwrap();
            value.refresh(&mut cache);
            assert_eq!(*cache.1, 2);
        });
    }
}
