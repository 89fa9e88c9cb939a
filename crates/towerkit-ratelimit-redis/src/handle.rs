use std::sync::Arc;

use towerkit_core::{ConfigError, StateHandle};
use towerkit_ratelimit::Quota;

use crate::limiter::Limiter;

/// Reads and changes a running limit of a [`RedisRateLimitLayer`](crate::RedisRateLimitLayer).
#[derive(Debug, Clone)]
pub struct RedisRateLimitHandle(pub(crate) StateHandle<Arc<Limiter>>);

/// The state of a limit in this process, as returned by [`RedisRateLimitHandle::snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisRateLimitSnapshot {
    /// The number of keys that have a slot in this process.
    pub keys: usize,
    /// The number of leased tokens that can be spent now, over all keys.
    pub tokens: u64,
    /// True if Redis answered the last requests.
    pub reachable: bool,
}

impl RedisRateLimitHandle {
    /// Returns a snapshot of the limit.
    ///
    /// It visits every key, so it is meant for metrics and diagnostics and not for each call.
    #[must_use]
    pub fn snapshot(&self) -> RedisRateLimitSnapshot {
        let limiter = self.0.get();
        let (keys, tokens) = limiter.slots.count(limiter.now());
        RedisRateLimitSnapshot {
            keys,
            tokens,
            reachable: limiter.is_reachable(),
        }
    }

    /// Returns the [`Quota`].
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.0.get().quota().0
    }

    /// Changes the [`Quota`], starting with the next lease.
    ///
    /// Tokens that are leased already can still be spent. A bucket on Redis that lacks some tokens lacks the same number afterwards,
    /// at most the new burst. The quota that applies [while Redis is unreachable](crate#while-redis-is-unreachable) does not change.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`], and keeps the old quota, if Redis cannot [count the new one exactly](crate#precision).
    pub fn set_quota(&self, quota: Quota) -> Result<(), ConfigError> {
        self.0.get().set_quota(quota)
    }
}
