use towerkit_core::StateHandle;

use crate::{Quota, guard::RateLimitState};

/// Reads and changes a [`RateLimitLayer`](crate::RateLimitLayer) and its services while they run.
#[derive(Debug, Clone)]
pub struct RateLimitHandle(pub(crate) StateHandle<RateLimitState>);

/// The state of a rate limit at one moment, see [`RateLimitHandle::snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimitSnapshot {
    /// The number of calls that would be admitted at this moment, at a cost of 1 each.
    pub available: u32,
    /// The quota.
    pub quota: Quota,
}

impl RateLimitHandle {
    /// Returns the tokens and the quota.
    #[must_use]
    pub fn snapshot(&self) -> RateLimitSnapshot {
        let limit = self.0.get();
        RateLimitSnapshot {
            available: limit.bucket.available(limit.clock.now()),
            quota: limit.bucket.quota(),
        }
    }

    /// Changes the quota.
    ///
    /// Each call is judged by one quota, the old or the new one. The bucket keeps its tokens, up to the new burst, or its debt.
    pub fn set_quota(&self, quota: Quota) {
        self.0.get().set_quota(quota);
    }
}
