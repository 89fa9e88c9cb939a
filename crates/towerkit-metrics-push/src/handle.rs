use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Reads the statistics of a [`Pusher`](crate::Pusher), from any thread.
#[derive(Debug, Clone)]
pub struct PusherHandle(pub(crate) Arc<PushStats>);

/// The statistics of a [`Pusher`](crate::Pusher), as returned by [`PusherHandle::snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PusherSnapshot {
    /// The number of pushes that arrived. Over UDP and TCP a push is counted when the next one starts without an error.
    pub pushes: u64,
    /// The number of pushes that failed. Their changes are part of the next push.
    pub failures: u64,
    /// The number of lines that were sent.
    pub lines: u64,
    /// The number of lines that were left out because they are longer than a packet, over all pushes.
    pub too_long: u64,
    /// The error of the last push, if it failed.
    pub last_failure: Option<String>,
}

/// The counters behind a [`PusherHandle`].
#[derive(Debug, Default)]
pub(crate) struct PushStats {
    // Relaxed throughout: the counters guard no other memory.
    pushes: AtomicU64,
    failures: AtomicU64,
    lines: AtomicU64,
    too_long: AtomicU64,
    last_failure: Mutex<Option<String>>,
}

impl PusherHandle {
    /// Returns the statistics of all pushes until now.
    #[must_use]
    pub fn snapshot(&self) -> PusherSnapshot {
        let last_failure = self.0.last_failure.lock();
        PusherSnapshot {
            pushes: self.0.pushes.load(Relaxed),
            failures: self.0.failures.load(Relaxed),
            lines: self.0.lines.load(Relaxed),
            too_long: self.0.too_long.load(Relaxed),
            last_failure: last_failure.unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl PushStats {
    pub(crate) fn record_success(&self) {
        self.pushes.fetch_add(1, Relaxed);
        self.set_last_failure(None);
    }

    pub(crate) fn record_failure(&self, error: String) {
        self.failures.fetch_add(1, Relaxed);
        self.set_last_failure(Some(error));
    }

    pub(crate) fn add_lines(&self, lines: u64) {
        self.lines.fetch_add(lines, Relaxed);
    }

    pub(crate) fn add_too_long(&self, lines: u64) {
        self.too_long.fetch_add(lines, Relaxed);
    }

    fn set_last_failure(&self, error: Option<String>) {
        let last = self.last_failure.lock();
        *last.unwrap_or_else(PoisonError::into_inner) = error;
    }
}
