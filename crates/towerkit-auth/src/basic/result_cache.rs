use std::{fmt, sync::Arc};

use arc_swap::{ArcSwapOption, Guard};
use towerkit_core::Principal;

/// Results of verifications by the keyed hash of their credentials: a set-associative table of a fixed size, read without a lock.
///
/// A new result takes the place of the one that expires first among [`WAYS`].
pub(super) struct ResultCache {
    sets: Box<[[ArcSwapOption<CachedResult>; WAYS]]>,
}

/// The result of a verification.
pub(super) struct CachedResult {
    pub(super) hash: CredentialHash,
    /// The generation of the users at the verification.
    pub(super) generation: u64,
    /// The time until which it is used, in nanoseconds of the clock.
    pub(super) expires: u64,
    /// The principal; `None` if the credentials are invalid.
    pub(super) principal: Option<Principal>,
}

pub(super) type CredentialHash = [u8; 32];

/// The places that a hash may be in.
const WAYS: usize = 4;

impl ResultCache {
    /// Makes a cache with `sets` times [`WAYS`] places.
    pub(super) fn new(sets: usize) -> Self {
        Self {
            sets: (0..sets).map(|_| Default::default()).collect(),
        }
    }

    /// Finds the result of credentials, also an expired one.
    #[inline]
    pub(super) fn find(&self, hash: &CredentialHash) -> Option<Guard<Option<Arc<CachedResult>>>> {
        // An early exit of the comparison tells nothing: a caller cannot choose the hash.
        self.set(hash)
            .iter()
            .map(ArcSwapOption::load)
            .find(|entry| entry.as_ref().is_some_and(|entry| entry.hash == *hash))
    }

    pub(super) fn insert(&self, result: CachedResult) {
        // Two threads may choose the same place: one result is lost, which costs a verification.
        let ways = self.set(&result.hash).iter();
        let oldest = ways.min_by_key(|way| match &*way.load() {
            None => 0,
            Some(entry) if entry.hash == result.hash => 0,
            Some(entry) => entry.expires,
        });
        if let Some(way) = oldest {
            way.store(Some(Arc::new(result)));
        }
    }

    fn set(&self, hash: &CredentialHash) -> &[ArcSwapOption<CachedResult>] {
        let (start, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
        let at = u64::from_le_bytes(*start) % self.sets.len() as u64;
        &self.sets[at as usize]
    }
}

impl fmt::Debug for ResultCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultCache")
            .field("places", &(self.sets.len() * WAYS))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(hash: CredentialHash, expires: u64) -> CachedResult {
        CachedResult {
            hash,
            generation: 0,
            expires,
            principal: None,
        }
    }

    #[test]
    fn the_result_that_expires_first_is_replaced() {
        let cache = ResultCache::new(1);
        let hash = |n: u8| [n; 32];
        for n in 0..5 {
            cache.insert(result(hash(n), 100 - u64::from(n)));
        }
        let has = |n| cache.find(&hash(n)).is_some();
        // 3 was the first to expire of the four that were there when 4 came.
        assert_eq!([0, 1, 2, 3, 4].map(has), [true, true, true, false, true]);
        cache.insert(result(hash(0), 200));
        assert_eq!([0, 1, 2, 4].map(has), [true; 4]);
        assert_eq!(cache.find(&hash(0)).unwrap().as_ref().unwrap().expires, 200);
    }
}
