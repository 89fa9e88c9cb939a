use crate::{
    counts::Counts,
    open_when::Rate,
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// The share of marked results at which the breaker opens, which may change while results come in.
pub(crate) struct Limit {
    rate: AtomicU64,
    minimum: AtomicU32,
}

// Relaxed: what is read torn is noticed by the revision of the ledger.
impl Limit {
    pub(crate) fn new() -> Self {
        Self {
            rate: AtomicU64::new(0),
            minimum: AtomicU32::new(0),
        }
    }

    pub(crate) fn adopt(&self, rate: Rate) {
        self.rate.store(rate.rate.to_bits(), Ordering::Relaxed);
        self.minimum.store(rate.minimum, Ordering::Relaxed);
    }

    /// Whether these counts are as bad as they may not be, as far as can be seen while the limit changes.
    #[inline(always)]
    pub(crate) fn is_reached(&self, counts: Counts) -> bool {
        let minimum = self.minimum.load(Ordering::Relaxed);
        counts.reach(f64::from_bits(self.rate.load(Ordering::Relaxed)), minimum)
    }
}
