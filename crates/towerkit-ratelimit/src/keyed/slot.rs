use towerkit_keyed::SlotValue;

use crate::{
    atomic_gcra::{GENERATION, RETIRED},
    gcra::Gcra,
    sync::{AtomicU64, Ordering},
};

/// The bucket of one key in a [`KeyTable`](towerkit_keyed::KeyTable): a word, with the quota of the tier of the key.
///
/// A slot may be given to another key while its bucket is full, since a key without a slot has a full bucket as well: no window can
/// hold more calls than it may. The mark is the word. The word of the next key is another one: [`RETIRED`] at first, and a later time
/// afterwards, since a full bucket lies in the past and the first call of a key in the present.
#[derive(Debug)]
pub(crate) struct BucketSlot(pub(crate) AtomicU64);

impl Default for BucketSlot {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl SlotValue for BucketSlot {
    type Initial = u64;

    #[inline(always)]
    fn idle_mark(&self, now: u64, is_owned: bool) -> Option<u64> {
        idle_word(&self.0, now, is_owned)
    }

    #[inline(always)]
    fn retire(&self, mark: u64) -> bool {
        retire_word(&self.0, mark)
    }

    #[inline(always)]
    fn set(&self, word: u64) {
        self.0.store(word, Ordering::Release);
    }
}

/// Returns the word if the bucket is full, or if it has never had a key.
pub(crate) fn idle_word(word: &AtomicU64, now: u64, is_owned: bool) -> Option<u64> {
    let word = word.load(Ordering::Relaxed);
    // Strictly in the past, so that the word of the next key is another one.
    let is_full = word | GENERATION < Gcra::units(now);
    (word != RETIRED && (!is_owned || is_full)).then_some(word)
}

/// Retires the word if it is still `mark`.
pub(crate) fn retire_word(word: &AtomicU64, mark: u64) -> bool {
    // Acquire, Release: later steps of a claim stay later, earlier ones earlier.
    let exchange = word.compare_exchange(mark, RETIRED, Ordering::AcqRel, Ordering::Relaxed);
    exchange.is_ok()
}
