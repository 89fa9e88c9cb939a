use std::sync::OnceLock;

use super::table::Place;
use crate::{
    InvalidSetting, Quota,
    bucket::Bucket,
    invalid::Problem,
    sync::{AtomicU64, Mutex, Ordering, lock},
};

/// Keys that have a quota of their own, and their buckets, which are never forgotten.
///
/// Open addressing with linear probing. A key that is removed leaves its place to the same key, or to another one once its bucket is
/// full: then the word of the next owner is another one, as in the [`Table`](super::table::Table).
#[derive(Debug)]
pub(crate) struct Overrides {
    /// Made with the first key.
    places: OnceLock<Box<[Own]>>,
    /// The keys there are; 0 as long as there is nothing to look for.
    count: AtomicU64,
    changes: Mutex<()>,
}

#[derive(Debug)]
struct Own {
    tag: AtomicU64,
    bucket: OnceLock<Bucket>,
}

/// A place at which a search ends.
const FREE: u64 = 0;
/// A place whose key was removed. No tag is this, see [`Buckets`](super::buckets::Buckets).
const LEFT: u64 = 1;

impl Overrides {
    /// The keys that may have a quota of their own.
    pub(crate) const MOST: usize = 1000;

    /// A power of two, so large that there are always free places to end a search.
    const PLACES: usize = 2048;

    pub(crate) fn new() -> Self {
        Self {
            places: OnceLock::new(),
            count: AtomicU64::new(0),
            changes: Mutex::new(()),
        }
    }

    /// Makes those of these tags and quotas, which are as many as there may be at most.
    pub(crate) fn of(all: &[(u64, Quota)]) -> Self {
        let overrides = Self::new();
        for (tag, quota) in all {
            let set = overrides.set(*tag, *quota, 0);
            debug_assert!(set.is_ok());
        }
        overrides
    }

    /// Returns the tags of all keys, and their quotas.
    pub(crate) fn all(&self) -> Vec<(u64, Quota)> {
        let _changing = lock(&self.changes);
        let owned = self.places().iter().filter_map(|own| {
            let tag = own.tag.load(Ordering::Relaxed);
            let quota = own.bucket.get()?.quota();
            (tag != FREE && tag != LEFT).then_some((tag, quota))
        });
        owned.collect()
    }

    /// Finds the bucket of a key.
    #[inline(always)]
    pub(crate) fn find(&self, tag: u64) -> Option<(Place<'_>, &Bucket)> {
        // Acquire pairs with the Release of `set`.
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.search(tag)
    }

    #[inline(never)]
    fn search(&self, tag: u64) -> Option<(Place<'_>, &Bucket)> {
        let places = self.places();
        for own in self.probe(tag).map(|place| &places[place]) {
            match own.tag.load(Ordering::Acquire) {
                FREE => return None,
                owner if owner == tag => {
                    let bucket = own.bucket.get()?;
                    return Some((Place::new(&bucket.word, &own.tag, tag), bucket));
                }
                _ => {}
            }
        }
        None
    }

    /// Gives a key a quota of its own, or changes it.
    pub(crate) fn set(&self, tag: u64, quota: Quota, now: u64) -> Result<(), InvalidSetting> {
        let _changing = lock(&self.changes);
        if let Some((_, bucket)) = self.find(tag) {
            bucket.change_quota(quota, now);
            return Ok(());
        }
        let places = || (0..Self::PLACES).map(|_| Own::new()).collect();
        self.places.get_or_init(places);
        if self.count() >= Self::MOST as u64 {
            return Err(InvalidSetting(Problem::Overrides));
        }
        let mut probed = self.probe(tag).map(|place| &self.places()[place]);
        let vacant = probed.find(|own| own.is_vacant(now));
        let own = vacant.ok_or(InvalidSetting(Problem::Overrides))?;
        match own.bucket.get() {
            None => drop(own.bucket.set(Bucket::new(quota))),
            Some(bucket) => {
                bucket.change_quota(quota, now);
                bucket.fill(now);
            }
        }
        own.tag.store(tag, Ordering::Release);
        self.count.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Takes its quota from a key. Says whether it had one.
    pub(crate) fn remove(&self, tag: u64) -> bool {
        let _changing = lock(&self.changes);
        let places = self.places();
        let tag_of = |place: usize| &places[place % Self::PLACES].tag;
        let searched = self.probe(tag).take_while(|place| !tag_of(*place).is(FREE));
        let Some(place) = { searched }.find(|place| tag_of(*place).is(tag)) else {
            return false;
        };
        tag_of(place).store(LEFT, Ordering::Release);
        self.count.fetch_sub(1, Ordering::Release);
        // Where a search ends anyway, it may as well end earlier.
        if tag_of(place + 1).is(FREE) {
            let back = (0..Self::PLACES).map(|step| tag_of(place + Self::PLACES - step));
            for left in back.take_while(|tag| tag.is(LEFT)) {
                left.store(FREE, Ordering::Release);
            }
        }
        true
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn places(&self) -> &[Own] {
        self.places.get().map_or(&[], |places| places)
    }

    /// The places at which a key may be, one after the other.
    fn probe(&self, tag: u64) -> impl Iterator<Item = usize> + use<> {
        let first = (tag >> 4) as usize;
        (0..self.places().len()).map(move |step| (first % Self::PLACES + step) % Self::PLACES)
    }
}

impl Own {
    fn new() -> Self {
        Self {
            tag: AtomicU64::new(FREE),
            bucket: OnceLock::new(),
        }
    }

    fn is_vacant(&self, now: u64) -> bool {
        let is_full = |bucket: &Bucket| bucket.is_full(now);
        (self.tag.is(FREE) || self.tag.is(LEFT)) && self.bucket.get().is_none_or(is_full)
    }
}

trait Is {
    fn is(&self, tag: u64) -> bool;
}

impl Is for AtomicU64 {
    fn is(&self, tag: u64) -> bool {
        // Relaxed: for those who hold the lock.
        self.load(Ordering::Relaxed) == tag
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn quota(burst: u32) -> Quota {
        Quota::per_second(1).unwrap().burst(burst).unwrap()
    }

    fn take(overrides: &Overrides, tag: u64, now: u64) -> Option<bool> {
        let (place, bucket) = overrides.find(tag)?;
        let taken = bucket.rate.take(place.word, now, 1, || place.is_ours());
        Some(taken.is_ok())
    }

    #[test]
    fn a_key_keeps_its_bucket_until_it_is_removed() {
        let overrides = Overrides::new();
        assert_eq!(take(&overrides, 32, SECOND), None);
        overrides.set(32, quota(2), SECOND).unwrap();
        // The same place at first, and so the next one.
        overrides.set(32 + 16 * 2048, quota(1), SECOND).unwrap();
        assert_eq!(take(&overrides, 32, SECOND), Some(true));
        assert_eq!(take(&overrides, 32 + 16 * 2048, SECOND), Some(true));
        assert_eq!(take(&overrides, 32 + 16 * 2048, SECOND), Some(false));
        overrides.set(32, quota(5), SECOND).unwrap();
        assert_eq!(take(&overrides, 32, SECOND), Some(true));
        assert_eq!(take(&overrides, 32, SECOND), Some(false));
        assert!(overrides.remove(32) && !overrides.remove(32));
        assert_eq!(take(&overrides, 32, SECOND), None);
        assert_eq!(take(&overrides, 32 + 16 * 2048, 3 * SECOND), Some(true));
        assert_eq!(overrides.count(), 1);
    }

    #[test]
    fn a_thousand_keys_and_no_more_however_many_came_and_went() {
        let overrides = Overrides::new();
        for round in 1..=5u64 {
            let now = round * 1000 * SECOND;
            for key in 1..=1000 {
                let tag = (round * 10_000 + key) << 4;
                overrides.set(tag, quota(1), now).unwrap();
                assert_eq!(take(&overrides, tag, now), Some(true));
            }
            assert!(overrides.set(16, quota(1), now).is_err());
            for key in 1..=1000 {
                assert!(overrides.remove((round * 10_000 + key) << 4));
            }
        }
        overrides.set(16, quota(1), 6000 * SECOND).unwrap();
    }
}
