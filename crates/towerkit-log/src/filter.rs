use std::{
    cell::RefCell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{
    Metadata, Subscriber, callsite::rebuild_interest_cache, level_filters::LevelFilter,
    subscriber::Interest,
};
use tracing_subscriber::{Layer, Registry, filter::Targets, layer::Context};

use crate::versioned::{Seen, Versioned};

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
/// handle.set_targets("info,shop=debug".parse()?);
/// assert!(tracing::enabled!(target: "shop::orders", tracing::Level::DEBUG));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct TargetsHandle(Arc<Versioned<Targets>>);

impl TargetsHandle {
    pub(crate) fn new(targets: Targets) -> Self {
        Self(Arc::new(Versioned::new(targets, new_version())))
    }

    /// Returns what is let through.
    #[must_use]
    pub fn targets(&self) -> Targets {
        Targets::clone(&self.0.current().1)
    }

    /// Lets `targets` through from now on.
    ///
    /// Every place that logs is asked anew, as when a subscriber is set up: that takes some microseconds for each of them, once. Who
    /// logs waits for nothing.
    pub fn set_targets(&self, targets: Targets) {
        self.replace(targets);
        rebuild_interest_cache();
    }

    /// As [`set_targets`](Self::set_targets), where nothing logs yet.
    pub(crate) fn replace(&self, targets: Targets) {
        self.0.replace(targets, new_version());
    }

    /// Reads what this thread has seen last, which is of no use only after a change.
    fn lets_through(&self, metadata: &Metadata<'_>) -> bool {
        thread_local! {
            static SEEN: RefCell<Seen<Targets>> = RefCell::default();
        }
        let reads = |targets: &Targets| targets.would_enable(metadata.target(), metadata.level());
        let seen = SEEN.try_with(|seen| {
            let mut seen = seen.borrow_mut();
            self.0.refresh(&mut seen);
            reads(&seen.1)
        });
        // At the end of a thread there is nothing to keep it in.
        seen.unwrap_or_else(|_| reads(&self.0.current().1))
    }
}

/// A number that no other value of any handle ever had, as a thread keeps what it has seen of one handle only.
fn new_version() -> u64 {
    static VERSIONS: AtomicU64 = AtomicU64::new(1);
    // Relaxed: that it is another number is all.
    VERSIONS.fetch_add(1, Ordering::Relaxed)
}

impl fmt::Debug for TargetsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TargetsHandle")
            .field(&self.0.current().1)
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
        Layer::<Registry>::max_level_hint(&*self.0.0.current().1)
    }
}
