use std::{
    cell::RefCell,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{
    Metadata, Subscriber, callsite::rebuild_interest_cache, level_filters::LevelFilter,
    subscriber::Interest,
};
use tracing_subscriber::{Layer, Registry, filter::Targets, layer::Context};

/// Reads and changes what a [`LogSubscriber`](crate::LogSubscriber) lets through, while it runs.
///
/// ```
/// use towerkit_log::{Format, Targets};
///
/// let subscriber = towerkit_log::subscriber(Format::Logfmt);
/// let handle = subscriber.handle();
/// # let dispatch = subscriber.dispatch();
/// # tracing::dispatcher::with_default(&dispatch, || {
/// assert!(!tracing::enabled!(target: "shop::orders", tracing::Level::DEBUG));
/// handle.change("info,shop=debug".parse()?);
/// assert!(tracing::enabled!(target: "shop::orders", tracing::Level::DEBUG));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct TargetsHandle(Arc<Shared>);

struct Shared {
    targets: Mutex<Arc<Targets>>,
    /// A number that no other value of any handle ever had.
    version: AtomicU64,
}

fn new_version() -> u64 {
    static VERSIONS: AtomicU64 = AtomicU64::new(1);
    VERSIONS.fetch_add(1, Ordering::Relaxed)
}

impl TargetsHandle {
    pub(crate) fn new(targets: Targets) -> Self {
        Self(Arc::new(Shared {
            targets: Mutex::new(Arc::new(targets)),
            version: AtomicU64::new(new_version()),
        }))
    }

    /// Returns what is let through.
    #[must_use]
    pub fn targets(&self) -> Targets {
        Targets::clone(&self.current().1)
    }

    /// Lets `targets` through from now on.
    ///
    /// Every place that logs is asked anew, as when a subscriber is set up: that takes some microseconds for each of them, once. Who
    /// logs waits for nothing.
    pub fn change(&self, targets: Targets) {
        self.replace(targets);
        rebuild_interest_cache();
    }

    /// As [`change`](Self::change), where nothing logs yet.
    pub(crate) fn replace(&self, targets: Targets) {
        let mut current = self
            .0
            .targets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(targets);
        // Under the lock, so that a version always belongs to one value. Release, for those who read the version without it: they
        // find at least this value.
        self.0.version.store(new_version(), Ordering::Release);
    }

    fn current(&self) -> (u64, Arc<Targets>) {
        let targets = self
            .0
            .targets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        (self.0.version.load(Ordering::Relaxed), targets.clone())
    }

    fn lets_through(&self, metadata: &Metadata<'_>) -> bool {
        self.with(|targets| targets.would_enable(metadata.target(), metadata.level()))
    }

    /// Reads without a lock, unless there has been a change since this thread last did.
    fn with<R>(&self, read: impl FnOnce(&Targets) -> R) -> R {
        thread_local! {
            static SEEN: RefCell<(u64, Arc<Targets>)> = RefCell::default();
        }
        let version = self.0.version.load(Ordering::Acquire);
        let seen = SEEN.try_with(|seen| {
            let mut seen = seen.borrow_mut();
            if seen.0 != version {
                *seen = self.current();
            }
            seen.1.clone()
        });
        // At the end of a thread there is nothing to keep it in.
        read(&seen.unwrap_or_else(|_| self.current().1))
    }
}

impl fmt::Debug for TargetsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TargetsHandle")
            .field(&self.current().1)
            .finish()
    }
}

/// The filter itself, in front of everything else of a subscriber.
#[derive(Debug)]
pub(crate) struct Filter(pub(crate) TargetsHandle);

impl<S: Subscriber> Layer<S> for Filter {
    /// As long as there is no change the answer stands: then nobody asks again.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.0.lets_through(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    /// Asked only where another layer, or another subscriber, decides event by event.
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.0.lets_through(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Layer::<Registry>::max_level_hint(&*self.0.current().1)
    }
}
