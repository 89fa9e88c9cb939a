use std::sync::atomic::{AtomicU64, Ordering};

/// The numbers of calls and polls of a [`Probe`](crate::Probe) and its clones.
#[derive(Debug, Default)]
pub struct CallCounts {
    pub(crate) reserved: AtomicU64,
    pub(crate) violations: AtomicU64,
    pub(crate) started: AtomicU64,
    pub(crate) finished: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) polls: AtomicU64,
}

/// Increments a counter, and returns its old value.
pub(crate) fn add(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::SeqCst)
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

impl CallCounts {
    /// Returns the number of instances that are ready and neither called nor dropped.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        read(&self.reserved)
    }

    /// Returns the number of calls of instances that were not ready.
    #[must_use]
    pub fn violations(&self) -> u64 {
        read(&self.violations)
    }

    /// Returns the number of calls that were started.
    #[must_use]
    pub fn started(&self) -> u64 {
        read(&self.started)
    }

    /// Returns the number of calls that were finished.
    #[must_use]
    pub fn finished(&self) -> u64 {
        read(&self.finished)
    }

    /// Returns the number of calls that were dropped before their end, or that panicked.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        read(&self.dropped)
    }

    /// Returns the number of calls in flight.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.started() - self.finished() - self.dropped()
    }

    /// Returns the number of polls of readiness and of futures.
    #[must_use]
    pub fn polls(&self) -> u64 {
        read(&self.polls)
    }
}
