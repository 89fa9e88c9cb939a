use std::hash::Hash;

use towerkit_core::{ConfigError, StateHandle};

use super::guard::KeyedState;
use crate::{Quota, token_bucket::TokenBucket};

/// Reads and changes a [`KeyedRateLimitLayer`](crate::KeyedRateLimitLayer) and its services while they run.
///
/// Methods that take a key take the value that the [key extractor](crate::KeyExtractor) finds in a call: text, or a value of the same
/// type.
#[derive(Debug, Clone)]
pub struct KeyedRateLimitHandle(pub(crate) StateHandle<KeyedState>);

/// The state of a keyed rate limit at one moment, see [`KeyedRateLimitHandle::snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyedRateLimitSnapshot {
    /// The number of keys that have a slot. A key with a full bucket keeps its slot until a new key needs it.
    pub keys: u64,
    /// The number of keys, since the start, that lost their slot to a new key. Their buckets were full.
    pub evicted: u64,
    /// The number of calls, since the start, whose key found no slot.
    pub overflowed: u64,
    /// The number of keys that have a quota of their own.
    pub overrides: u64,
    /// The quota of all keys together, if there is one.
    pub total: Option<Quota>,
}

impl KeyedRateLimitHandle {
    /// Returns the numbers of keys, evictions, overflows and overrides.
    #[must_use]
    pub fn snapshot(&self) -> KeyedRateLimitSnapshot {
        let limit = self.0.get();
        let buckets = limit.buckets();
        KeyedRateLimitSnapshot {
            keys: buckets.keys(),
            evicted: buckets.evicted(),
            overflowed: buckets.reporter.overflowed(),
            overrides: buckets.overrides.len(),
            total: buckets.total.as_ref().map(TokenBucket::quota),
        }
    }

    /// Returns the number of calls of a key that would be admitted at this moment at a cost of 1 each, by the first tier or by the
    /// key's own quota.
    #[must_use]
    pub fn available<K: Hash + ?Sized>(&self, key: &K) -> u32 {
        let limit = self.0.get();
        let now = limit.config.clock.now();
        limit.buckets().available(limit.key(key, 0), now)
    }

    /// Returns the quota of a [tier](crate::KeyedRateLimitLayer::tiers); `None` if there is no such tier.
    #[must_use]
    pub fn quota(&self, tier: usize) -> Option<Quota> {
        self.0.get().buckets().quota(tier)
    }

    /// Changes the quota of a tier; tier 0 is the first.
    ///
    /// Each call is judged by one quota, the old or the new one. A bucket keeps its tokens, up to the new burst, or its debt; a full
    /// bucket stays full. The change visits all buckets, which takes about a millisecond at the default capacity, while calls go on.
    ///
    /// # Errors
    ///
    /// If there is no such tier.
    pub fn set_quota(&self, tier: usize, quota: Quota) -> Result<(), ConfigError> {
        let limit = self.0.get();
        let now = limit.config.clock.now();
        limit.buckets().set_quota(tier, quota, now)
    }

    /// Changes the quota of all keys together.
    ///
    /// # Errors
    ///
    /// If the layer was made without a [total](crate::KeyedRateLimitLayer::total).
    pub fn set_total(&self, quota: Quota) -> Result<(), ConfigError> {
        let limit = self.0.get();
        let Some(total) = &limit.buckets().total else {
            let expected = "a layer that was made with a total";
            return Err(ConfigError::new("total", format_args!("{quota}"), expected));
        };
        total.set_quota(quota, limit.config.clock.now());
        Ok(())
    }

    /// Gives a key a quota of its own, independent of its tier, or changes it.
    ///
    /// The bucket of the key is full at first, and is never evicted. A key whose quota was [removed](Self::remove_override) shortly
    /// before keeps the bucket that it had with it.
    ///
    /// # Errors
    ///
    /// If 1,000 other keys have a quota of their own.
    pub fn set_override<K: Hash + ?Sized>(&self, key: &K, quota: Quota) -> Result<(), ConfigError> {
        let limit = self.0.get();
        let tag = limit.config.hasher.tag(key);
        let now = limit.config.clock.now();
        limit.buckets().overrides.set(tag, quota, now)
    }

    /// Removes the own quota of a key. Returns true if it had one.
    pub fn remove_override<K: Hash + ?Sized>(&self, key: &K) -> bool {
        let limit = self.0.get();
        let tag = limit.config.hasher.tag(key);
        limit.buckets().overrides.remove(tag)
    }
}
