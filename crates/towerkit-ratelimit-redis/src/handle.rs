use std::sync::Arc;

use towerkit_core::StateHandle;
use towerkit_ratelimit::Quota;

use crate::{InvalidSetting, limiter::Limiter};

/// Reads and changes a limit on Redis while it runs.
#[derive(Debug, Clone)]
pub struct RedisRateLimitHandle(pub(crate) StateHandle<Arc<Limiter>>);

/// A limit at one moment, as this process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// How many keys the process knows.
    pub keys: usize,
    /// How many tokens it holds for them.
    pub tokens: u64,
    /// Whether Redis answers, as far as the process knows.
    pub reachable: bool,
}

impl RedisRateLimitHandle {
    /// Returns what the process holds at this moment. It looks at every key: for people, not for every call.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let limiter = self.0.get();
        let (keys, tokens) = limiter.keys.count(limiter.now());
        Snapshot {
            keys,
            tokens,
            reachable: limiter.is_well(),
        }
    }

    /// Returns the quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.0.get().quota().0
    }

    /// Changes the quota: by the next lease on.
    ///
    /// Tokens that are leased already can be spent. The buckets on Redis keep what they lack of being full, in tokens, at most the new
    /// burst. What holds while Redis is away stays as it is.
    ///
    /// # Errors
    ///
    /// If Redis cannot count the quota exactly; the old one stays then.
    pub fn change_quota(&self, quota: Quota) -> Result<(), InvalidSetting> {
        self.0.get().change_quota(quota)
    }
}
