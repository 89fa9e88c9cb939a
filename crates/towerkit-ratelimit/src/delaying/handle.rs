use towerkit_core::StateHandle;

use super::guard::DelayingState;
use crate::Quota;

/// Reads and changes a [`DelayingRateLimitLayer`](crate::DelayingRateLimitLayer) and its services while they run.
#[derive(Debug, Clone)]
pub struct DelayingRateLimitHandle(pub(crate) StateHandle<DelayingState>);

/// The state of a delaying rate limit at one moment, see [`DelayingRateLimitHandle::snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DelayingRateLimitSnapshot {
    /// The number of calls that would be admitted at this moment without waiting, at a cost of 1 each.
    pub available: u32,
    /// The number of calls that wait.
    pub waiting: usize,
    /// The quota.
    pub quota: Quota,
}

impl DelayingRateLimitHandle {
    /// Returns the tokens, the length of the queue, and the quota.
    #[must_use]
    pub fn snapshot(&self) -> DelayingRateLimitSnapshot {
        let limit = self.0.get();
        DelayingRateLimitSnapshot {
            available: limit.bucket.bucket().available(limit.clock.now()),
            waiting: limit.bucket.waiting(),
            quota: limit.bucket.bucket().quota(),
        }
    }

    /// Changes the quota, see [`RateLimitHandle::set_quota`](crate::RateLimitHandle::set_quota). Calls that wait go on at the new rate,
    /// for the tokens that they still need.
    pub fn set_quota(&self, quota: Quota) {
        let limit = self.0.get();
        limit.bucket.set_quota(quota, limit.clock.now());
    }
}
