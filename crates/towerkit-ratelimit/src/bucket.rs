use crate::{
    Quota,
    level::{Level, Short},
    quota::Spacing,
    rate::{ERA, Rate},
    sync::{AtomicU64, Mutex, Ordering, lock},
};

#[cfg(all(test, not(towerkit_loom)))]
mod model;

/// A token bucket in one word, and its quota.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) word: AtomicU64,
    pub(crate) rate: Rate,
    /// For those who ask, and so that changes come one after the other.
    quota: Mutex<Quota>,
}

impl Bucket {
    /// Makes a full bucket.
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            word: AtomicU64::new(0),
            rate: Rate::new(&quota),
            quota: Mutex::new(quota),
        }
    }

    /// Takes `cost` tokens, or says after which time there will be so many.
    #[inline(always)]
    pub(crate) fn take(&self, now: u64, cost: u32) -> Result<Level, Short> {
        self.rate.take(&self.word, now, cost, || true)
    }

    /// Takes tokens that were spent already, see [`Rate::charge`].
    pub(crate) fn charge(&self, now: u64, cost: u32) {
        self.rate.charge(&self.word, now, cost, || true);
    }

    /// Gives tokens back that were taken at the time `taken`, see [`Rate::give_back`].
    pub(crate) fn give_back(&self, taken: u64, now: u64, cost: u32) {
        self.rate.give_back(&self.word, taken, now, cost);
    }

    /// Returns what it holds.
    pub(crate) fn level(&self, now: u64) -> Level {
        let level = self.rate.look(&self.word, now, || true);
        level.expect("a bucket of its own has no other owner")
    }

    /// Returns the time when it would be full, and the numbers of its quota.
    pub(crate) fn read(&self) -> (u64, Spacing) {
        let (seen, spacing) = self.rate.read(&self.word);
        (seen & !ERA, spacing)
    }

    /// Puts another time into the word, given the one that is there.
    pub(crate) fn rewrite(&self, next: impl FnMut(u64, Spacing) -> u64) {
        self.rate.rewrite(&self.word, || true, next);
    }

    /// Whether it has been full for a while.
    pub(crate) fn is_full(&self, now: u64) -> bool {
        self.word.load(Ordering::Relaxed) | ERA < Spacing::units(now)
    }

    /// Fills it, at a time at which [it was full](Self::is_full) already and another one owned it.
    pub(crate) fn fill(&self, now: u64) {
        let is_ours = || true;
        self.rate.update(&self.word, now, is_ours, |_, _| 0);
    }

    /// Returns how many tokens there are.
    pub(crate) fn available(&self, now: u64) -> u32 {
        self.level(now).tokens()
    }

    pub(crate) fn quota(&self) -> Quota {
        *lock(&self.quota)
    }

    /// Changes the quota. The tokens in the bucket stay, up to the new burst; so does a debt.
    pub(crate) fn change_quota(&self, quota: Quota, now: u64) {
        let mut kept = lock(&self.quota);
        *kept = quota;
        self.rate.change(&quota);
        self.rate.convert(&self.word, Spacing::units(now), || true);
    }
}
