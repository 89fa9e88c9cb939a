use std::{
    collections::HashMap,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use towerkit_core::ConfigError;
use towerkit_keyed::{Claim, Entry, KeyTable, SlotValue};

use super::slot::{idle_word, retire_word};
use crate::{
    Quota,
    sync::{AtomicU64, Mutex, lock},
    token_bucket::TokenBucket,
};

/// The keys that have a quota of their own.
///
/// The list is a map behind a lock, for those that change or list it. A call looks its key up in a [`KeyTable`], without a lock.
#[derive(Debug)]
pub(crate) struct Overrides {
    quotas: Mutex<HashMap<u64, Quota>>,
    /// A Bloom filter of the listed keys: most calls without an override see at once that they have none.
    filter: AtomicU64,
    /// Made with the first key.
    table: OnceLock<KeyTable<OverrideSlot>>,
}

/// The bucket of a key with a quota of its own.
#[derive(Debug, Default)]
pub(crate) struct OverrideSlot {
    /// False after the key was removed from the list. The slot then keeps the bucket until another key needs it.
    is_listed: AtomicBool,
    /// Made with the first key of the slot.
    bucket: OnceLock<Box<TokenBucket>>,
}

impl OverrideSlot {
    #[inline(always)]
    pub(crate) fn bucket(&self) -> &TokenBucket {
        self.bucket.get().expect("made before the key is listed")
    }
}

impl SlotValue for OverrideSlot {
    type Initial = Quota;

    fn idle_mark(&self, now: u64, is_owned: bool) -> Option<u64> {
        match self.bucket.get() {
            _ if self.is_listed.load(Ordering::Relaxed) => None,
            Some(bucket) => idle_word(&bucket.word, now, is_owned),
            None => Some(0),
        }
    }

    fn retire(&self, mark: u64) -> bool {
        let bucket = self.bucket.get();
        bucket.is_none_or(|bucket| retire_word(&bucket.word, mark))
    }

    fn set(&self, quota: Quota) {
        match self.bucket.get() {
            Some(bucket) => bucket.restart(quota),
            None => drop(self.bucket.set(Box::new(TokenBucket::new(quota)))),
        }
        self.is_listed.store(true, Ordering::Release);
    }
}

impl Overrides {
    /// The most keys that may have a quota of their own.
    pub(crate) const MAX: usize = 1000;

    /// Makes the overrides of a list with at most [`MAX`](Self::MAX) keys.
    pub(crate) fn new(quotas: &HashMap<u64, Quota>) -> Self {
        let overrides = Self {
            quotas: Mutex::new(HashMap::new()),
            filter: AtomicU64::new(0),
            table: OnceLock::new(),
        };
        for (tag, quota) in quotas {
            let set = overrides.set(*tag, *quota, 0);
            debug_assert!(set.is_ok());
        }
        overrides
    }

    /// Returns the list.
    pub(crate) fn quotas(&self) -> HashMap<u64, Quota> {
        lock(&self.quotas).clone()
    }

    /// Finds the bucket of a key.
    #[inline(always)]
    pub(crate) fn find(&self, tag: u64) -> Option<Entry<'_, OverrideSlot>> {
        // Acquire pairs with the Release of `set`.
        if self.filter.load(Ordering::Acquire) & filter_bit(tag) == 0 {
            return None;
        }
        self.look_up(tag)
    }

    #[inline(never)]
    fn look_up(&self, tag: u64) -> Option<Entry<'_, OverrideSlot>> {
        let entry = self.table.get()?.find(tag)?;
        // Acquire: the bucket is that of the key.
        let is_listed = entry.value.is_listed.load(Ordering::Acquire);
        is_listed.then_some(entry)
    }

    /// Gives a key a quota of its own, or changes it.
    ///
    /// The bucket of a new key is full. A key that comes back before its bucket was full keeps the bucket.
    pub(crate) fn set(&self, tag: u64, quota: Quota, now: u64) -> Result<(), ConfigError> {
        let full = || {
            ConfigError::new(
                "override",
                format_args!("{quota}"),
                "at most 1000 overrides",
            )
        };
        let mut quotas = lock(&self.quotas);
        if !quotas.contains_key(&tag) && quotas.len() >= Self::MAX {
            return Err(full());
        }
        let table = self.table.get_or_init(|| KeyTable::new(2 * Self::MAX));
        if let Some(Entry { value, .. }) = table.find(tag) {
            value.bucket().set_quota(quota, now);
            value.is_listed.store(true, Ordering::Release);
        } else {
            let claim = table.claim(tag, now, |_| Ok::<_, ConfigError>((quota, ())))?;
            if let Claim::Full(_) = claim {
                return Err(full());
            }
        }
        quotas.insert(tag, quota);
        // Release pairs with the Acquire of `find`.
        self.filter.fetch_or(filter_bit(tag), Ordering::Release);
        Ok(())
    }

    /// Removes the quota of a key. Returns true if it had one.
    pub(crate) fn remove(&self, tag: u64) -> bool {
        let mut quotas = lock(&self.quotas);
        let was_listed = quotas.remove(&tag).is_some();
        if let Some(entry) = self.table.get().and_then(|table| table.find(tag)) {
            entry.value.is_listed.store(false, Ordering::Release);
        }
        let filter = quotas.keys().fold(0, |bits, tag| bits | filter_bit(*tag));
        self.filter.store(filter, Ordering::Release);
        was_listed
    }

    /// Returns the length of the list.
    pub(crate) fn len(&self) -> u64 {
        lock(&self.quotas).len() as u64
    }
}

/// Returns the bit of a key in the filter.
#[inline(always)]
fn filter_bit(tag: u64) -> u64 {
    1 << (tag >> 58)
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn quota(burst: u32) -> Quota {
        Quota::per_second(1).unwrap().burst(burst).unwrap()
    }

    fn take(overrides: &Overrides, tag: u64, now: u64) -> Option<bool> {
        let entry = overrides.find(tag)?;
        let TokenBucket { word, gcra, .. } = entry.value.bucket();
        let taken = gcra.take(word, now, 1, || entry.is_current());
        Some(taken.is_ok())
    }

    #[test]
    fn a_key_keeps_its_bucket_until_it_is_removed() {
        let overrides = Overrides::new(&HashMap::new());
        assert_eq!(take(&overrides, 32, SECOND), None);
        overrides.set(32, quota(2), SECOND).unwrap();
        // The same slot is preferred, and so the next one is taken.
        overrides.set(48, quota(1), SECOND).unwrap();
        assert_eq!(take(&overrides, 32, SECOND), Some(true));
        assert_eq!(take(&overrides, 48, SECOND), Some(true));
        assert_eq!(take(&overrides, 48, SECOND), Some(false));
        overrides.set(32, quota(5), SECOND).unwrap();
        assert_eq!(take(&overrides, 32, SECOND), Some(true));
        assert_eq!(take(&overrides, 32, SECOND), Some(false));
        assert!(overrides.remove(32) && !overrides.remove(32));
        assert_eq!(take(&overrides, 32, SECOND), None);
        assert_eq!(take(&overrides, 48, 3 * SECOND), Some(true));
        assert_eq!(overrides.len(), 1);
        assert_eq!(overrides.quotas(), HashMap::from([(48, quota(1))]));
    }

    /// A key that is removed and comes back at once gets no second burst.
    #[test]
    fn a_key_that_comes_back_keeps_its_bucket() {
        let overrides = Overrides::new(&HashMap::new());
        overrides.set(32, quota(1), SECOND).unwrap();
        assert_eq!(take(&overrides, 32, SECOND), Some(true));
        assert!(overrides.remove(32));
        overrides.set(32, quota(3), SECOND).unwrap();
        assert_eq!(take(&overrides, 32, SECOND), Some(false));
        assert_eq!(take(&overrides, 32, 2 * SECOND), Some(true));
    }

    #[test]
    fn a_thousand_keys_and_no_more_however_many_came_and_went() {
        let tag = |key: u64| (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 32) & !15;
        let overrides = Overrides::new(&HashMap::new());
        for round in 1..=5u64 {
            let now = round * 1000 * SECOND;
            for key in 1..=1000 {
                let tag = tag(round * 10_000 + key);
                overrides.set(tag, quota(1), now).unwrap();
                assert_eq!(take(&overrides, tag, now), Some(true));
            }
            assert!(overrides.set(16, quota(1), now).is_err());
            for key in 1..=1000 {
                assert!(overrides.remove(tag(round * 10_000 + key)));
            }
        }
        overrides.set(16, quota(1), 6000 * SECOND).unwrap();
    }
}
