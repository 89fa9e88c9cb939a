use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Reads how a [`Pusher`](crate::Pusher) fares, from anywhere.
#[derive(Debug, Clone)]
pub struct PusherHandle(pub(crate) Arc<Fares>);

/// How a pusher fared until now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many pushes were sent whole, and not rejected: over UDP and TCP that is known by the next one.
    pub pushes: u64,
    /// How many pushes failed, or turned out later not to have arrived. What they had to tell is told by the next one.
    pub failures: u64,
    /// How many lines were sent.
    pub lines: u64,
    /// How many lines were longer than a packet may be, and left out, in all pushes together.
    pub too_long: u64,
    /// What the last failure was, if there was one since the last of these pushes.
    pub last_failure: Option<String>,
}

/// Ordering is relaxed throughout: these are counts for people, and nothing is decided by them.
#[derive(Debug, Default)]
pub(crate) struct Fares {
    pushes: AtomicU64,
    failures: AtomicU64,
    lines: AtomicU64,
    too_long: AtomicU64,
    last_failure: Mutex<Option<String>>,
}

impl PusherHandle {
    /// Returns how the pusher fared until now.
    #[must_use]
    pub fn report(&self) -> Report {
        let last_failure = self.0.last_failure.lock();
        Report {
            pushes: self.0.pushes.load(Relaxed),
            failures: self.0.failures.load(Relaxed),
            lines: self.0.lines.load(Relaxed),
            too_long: self.0.too_long.load(Relaxed),
            last_failure: last_failure.unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Fares {
    pub(crate) fn well(&self) {
        self.pushes.fetch_add(1, Relaxed);
        self.last(None);
    }

    pub(crate) fn failed(&self, why: String) {
        self.failures.fetch_add(1, Relaxed);
        self.last(Some(why));
    }

    pub(crate) fn lines(&self, lines: u64) {
        self.lines.fetch_add(lines, Relaxed);
    }

    pub(crate) fn too_long(&self, lines: u64) {
        self.too_long.fetch_add(lines, Relaxed);
    }

    fn last(&self, why: Option<String>) {
        let last = self.last_failure.lock();
        *last.unwrap_or_else(PoisonError::into_inner) = why;
    }
}
