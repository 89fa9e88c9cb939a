use std::sync::atomic::{AtomicU64, Ordering};

/// What was done to a [`Probe`](crate::Probe) and its clones.
#[derive(Debug, Default)]
pub struct CallCounts {
    pub(crate) reserved: AtomicU64,
    pub(crate) violations: AtomicU64,
    pub(crate) started: AtomicU64,
    pub(crate) finished: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) polls: AtomicU64,
}

/// Counts one more, and returns how many there were before.
pub(crate) fn add(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::SeqCst)
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

impl CallCounts {
    /// Returns how many instances are ready and neither called nor dropped.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        read(&self.reserved)
    }

    /// Returns how many calls came to an instance that was not ready.
    #[must_use]
    pub fn violations(&self) -> u64 {
        read(&self.violations)
    }

    /// Returns how many calls were started.
    #[must_use]
    pub fn started(&self) -> u64 {
        read(&self.started)
    }

    /// Returns how many calls came to their end.
    #[must_use]
    pub fn finished(&self) -> u64 {
        read(&self.finished)
    }

    /// Returns how many calls were dropped before their end, or panicked.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        read(&self.dropped)
    }

    /// Returns how many calls go on.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.started() - self.finished() - self.dropped()
    }

    /// Returns how often the probe's readiness or a future of its was polled.
    #[must_use]
    pub fn polls(&self) -> u64 {
        read(&self.polls)
    }
}
