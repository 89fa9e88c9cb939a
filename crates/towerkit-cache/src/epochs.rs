use crate::sync::{AtomicU64, Ordering, fence};

/// Counts what was thrown away, so that an answer which was asked for before is not kept after.
///
/// Keys share a few counters: an answer may be thrown away for a key that has the same counter, and is then fetched anew.
#[derive(Debug)]
pub(crate) struct Epochs {
    generation: AtomicU64,
    stripes: [AtomicU64; STRIPES],
}

const STRIPES: usize = if cfg!(towerkit_loom) { 1 } else { 64 };

/// The counters at the moment at which an answer was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) generation: u64,
    stripe: usize,
    epoch: u64,
}

impl Epochs {
    pub(crate) fn new() -> Self {
        Self {
            generation: AtomicU64::new(0),
            stripes: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Whether an answer of that generation has not been thrown away with all others.
    #[inline]
    pub(crate) fn is_of(&self, generation: u64) -> bool {
        // Acquire pairs with the Release of `end_all`: who learns that all was thrown away sees none of it any more.
        self.generation.load(Ordering::Acquire) == generation
    }

    /// Returns the counters for a key with that hash.
    pub(crate) fn stamp(&self, hash: u64) -> Stamp {
        let stripe = hash as usize % STRIPES;
        Stamp {
            generation: self.generation.load(Ordering::Acquire),
            stripe,
            epoch: self.stripes[stripe].load(Ordering::Acquire),
        }
    }

    /// Whether nothing that concerns the key was thrown away since.
    ///
    /// To be asked after the answer was put where [`end`](Self::end) is followed by its removal. Of the two, one then sees the
    /// other: the fences put "put, then read the counter" and "count, then remove" in one order.
    pub(crate) fn is_current(&self, stamp: &Stamp) -> bool {
        fence(Ordering::SeqCst);
        self.is_of(stamp.generation)
            && self.stripes[stamp.stripe].load(Ordering::Acquire) == stamp.epoch
    }

    /// Counts that answers to keys with that hash were thrown away.
    pub(crate) fn end(&self, hash: u64) {
        self.stripes[hash as usize % STRIPES].fetch_add(1, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Counts that all answers were thrown away.
    pub(crate) fn end_all(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }
}
