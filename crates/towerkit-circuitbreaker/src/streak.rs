use crate::{
    epoch::Epoch,
    sync::{AtomicU64, Ordering},
};

/// Failures in a row: the epoch (32 bits) and their number (32).
pub(crate) struct Streak(AtomicU64);

const FAILURES: u32 = 32;

// Relaxed throughout: the word says everything, and no other memory hangs on it.
impl Streak {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(u64::from(Epoch::FIRST.bits())))
    }

    #[inline(always)]
    pub(crate) fn is_spotless(&self, epoch: Epoch) -> bool {
        self.0.load(Ordering::Relaxed) == u64::from(epoch.bits())
    }

    /// Counts one result; returns the failures in a row, or `None` if that epoch is over.
    pub(crate) fn record(&self, epoch: Epoch, failed: bool) -> Option<u32> {
        let mut seen = self.0.load(Ordering::Relaxed);
        while epoch_of(seen) == epoch {
            let before = (seen >> FAILURES) as u32;
            let failures = if failed { before.saturating_add(1) } else { 0 };
            let next = u64::from(epoch.bits()) | u64::from(failures) << FAILURES;
            match self
                .0
                .compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(failures),
                Err(other) => seen = other,
            }
        }
        None
    }

    pub(crate) fn reset(&self, epoch: Epoch) {
        self.0.swap(u64::from(epoch.bits()), Ordering::Relaxed);
    }

    /// Returns the failures in a row of `epoch`, which are 0 if it is over.
    pub(crate) fn failures(&self, epoch: Epoch) -> u32 {
        let seen = self.0.load(Ordering::Relaxed);
        if epoch_of(seen) == epoch {
            (seen >> FAILURES) as u32
        } else {
            0
        }
    }
}

fn epoch_of(streak: u64) -> Epoch {
    Epoch::of(streak as u32)
}
