use std::hash::Hash;

use towerkit_core::StateHandle;

use super::KeyedRateLimitPolicy;
use crate::{InvalidSetting, Quota, invalid::Problem};

/// Reads and changes a rate limit by key while it runs.
///
/// Where it takes a key, that is what the key function returns: a value of the same type, or the text.
#[derive(Debug, Clone)]
pub struct KeyedRateLimitHandle(pub(crate) StateHandle<KeyedRateLimitPolicy<()>>);

/// How a rate limit by key stands, see [`KeyedRateLimitHandle::snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyedSnapshot {
    /// The keys that have a place; those whose buckets are full keep theirs until a newcomer needs it.
    pub keys: u64,
    /// The keys that lost their place to a newcomer, since the start. Their buckets were full.
    pub evicted: u64,
    /// The calls whose key found no room, since the start.
    pub overflowed: u64,
    /// The keys that have a quota of their own.
    pub overrides: u64,
}

impl KeyedRateLimitHandle {
    /// Returns how the limit stands.
    #[must_use]
    pub fn snapshot(&self) -> KeyedSnapshot {
        let limit = self.0.get();
        let buckets = limit.buckets();
        KeyedSnapshot {
            keys: buckets.keys(),
            evicted: buckets.evicted(),
            overflowed: buckets.pressure.count(),
            overrides: buckets.overrides.count(),
        }
    }

    /// Returns how many calls of a key would be admitted at this moment, each for one token of the first quota, or of its own.
    #[must_use]
    pub fn available<K: Hash + ?Sized>(&self, key: &K) -> u32 {
        let limit = self.0.get();
        let buckets = limit.buckets();
        let source = buckets.source(buckets.tag(key), 0);
        buckets.available(source, limit.settings.clock.now())
    }

    /// Returns the quota of this number, see [`KeyedRateLimitLayer::classes`](crate::KeyedRateLimitLayer::classes).
    #[must_use]
    pub fn quota(&self, class: usize) -> Option<Quota> {
        self.0.get().buckets().quota(class)
    }

    /// Changes the quota of this number; 0 is the first.
    ///
    /// Every call is judged by the old quota or by the new one. The tokens in a bucket stay, up to the new burst; a full one stays
    /// full. This goes through all buckets, about a millisecond for the default capacity, while calls go on.
    ///
    /// # Errors
    ///
    /// If there is no quota of this number.
    pub fn change_quota(&self, class: usize, quota: Quota) -> Result<(), InvalidSetting> {
        let limit = self.0.get();
        limit
            .buckets()
            .change_quota(class, quota, limit.settings.clock.now())
    }

    /// Returns the quota of all keys together.
    #[must_use]
    pub fn total(&self) -> Option<Quota> {
        let limit = self.0.get();
        let total = limit.buckets().total.as_ref()?;
        Some(total.quota())
    }

    /// Changes the quota of all keys together.
    ///
    /// # Errors
    ///
    /// If there was [none](crate::KeyedRateLimitLayer::total) at the start.
    pub fn change_total(&self, quota: Quota) -> Result<(), InvalidSetting> {
        let limit = self.0.get();
        let total = limit.buckets().total.as_ref();
        let total = total.ok_or(InvalidSetting(Problem::NoTotal))?;
        total.change_quota(quota, limit.settings.clock.now());
        Ok(())
    }

    /// Gives a key a quota of its own, whatever its class, and a bucket that is never forgotten and full at first. If it has one, its
    /// quota is changed.
    ///
    /// # Errors
    ///
    /// If 1,000 keys have a quota of their own.
    pub fn change_override<K: Hash + ?Sized>(
        &self,
        key: &K,
        quota: Quota,
    ) -> Result<(), InvalidSetting> {
        let limit = self.0.get();
        let buckets = limit.buckets();
        buckets
            .overrides
            .set(buckets.tag(key), quota, limit.settings.clock.now())
    }

    /// Takes its own quota from a key. Says whether it had one.
    pub fn remove_override<K: Hash + ?Sized>(&self, key: &K) -> bool {
        let limit = self.0.get();
        let buckets = limit.buckets();
        buckets.overrides.remove(buckets.tag(key))
    }
}
