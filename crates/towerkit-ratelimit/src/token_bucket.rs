use crate::{
    Quota,
    atomic_gcra::{AtomicGcra, GENERATION},
    gcra::{BucketState, Gcra, InsufficientTokens},
    sync::{AtomicU64, Mutex, Ordering, lock},
};

#[cfg(all(test, not(towerkit_loom)))]
mod model;

/// A token bucket in one atomic word, and its quota.
///
/// Times are the nanoseconds of a [`Clock`](towerkit_core::Clock).
#[derive(Debug)]
pub(crate) struct TokenBucket {
    pub(crate) word: AtomicU64,
    pub(crate) gcra: AtomicGcra,
    /// Serializes changes.
    quota: Mutex<Quota>,
}

impl TokenBucket {
    /// Makes a full bucket.
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            word: AtomicU64::new(0),
            gcra: AtomicGcra::new(&quota),
            quota: Mutex::new(quota),
        }
    }

    /// Takes `cost` tokens.
    ///
    /// # Errors
    ///
    /// If there are not enough tokens; the error tells [after which time](InsufficientTokens::retry_after) there will be.
    #[inline(always)]
    pub(crate) fn take(&self, now: u64, cost: u32) -> Result<BucketState, InsufficientTokens> {
        self.gcra.take(&self.word, now, cost, || true)
    }

    /// Takes tokens that are already spent, see [`AtomicGcra::charge`].
    pub(crate) fn charge(&self, now: u64, cost: u32) {
        self.gcra.charge(&self.word, now, cost, || true);
    }

    /// Returns unused tokens, see [`AtomicGcra::refund`].
    pub(crate) fn refund(&self, taken: u64, now: u64, cost: u32) {
        self.gcra.refund(&self.word, taken, now, cost);
    }

    pub(crate) fn state(&self, now: u64) -> BucketState {
        let state = self.gcra.state(&self.word, now, || true);
        state.expect("only the word of a slot is retired")
    }

    /// Returns the time at which the bucket is full, in units, and the parameters of its quota.
    pub(crate) fn read(&self) -> (u64, Gcra) {
        let (seen, gcra) = self.gcra.read(&self.word);
        (seen & !GENERATION, gcra)
    }

    /// Changes the time at which the bucket is full.
    pub(crate) fn rewrite(&self, next: impl FnMut(u64, Gcra) -> u64) {
        self.gcra.rewrite(&self.word, || true, next);
    }

    /// Returns the number of tokens.
    pub(crate) fn available(&self, now: u64) -> u32 {
        self.state(now).tokens()
    }

    /// Returns the quota.
    pub(crate) fn quota(&self) -> Quota {
        *lock(&self.quota)
    }

    /// Changes the quota. The bucket keeps its tokens, up to the new burst, or its debt.
    pub(crate) fn set_quota(&self, quota: Quota, now: u64) {
        let mut current = lock(&self.quota);
        *current = quota;
        self.gcra.set_quota(&quota);
        self.gcra.convert(&self.word, Gcra::units(now), || true);
    }

    /// Changes the quota of a bucket that gets another owner, and fills it.
    pub(crate) fn restart(&self, quota: Quota) {
        let mut current = lock(&self.quota);
        *current = quota;
        self.gcra.set_quota(&quota);
        // Release: a call that sees the word sees the parameters of its generation.
        self.word.store(self.gcra.generation(), Ordering::Release);
    }
}
