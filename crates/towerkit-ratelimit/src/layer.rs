use towerkit_core::{Clock, Guards, Plain, Row, RowLayer};

use crate::{Quota, RateLimit};

/// Limits the rate of calls: one bucket for all callers, refusing.
#[derive(Debug, Clone)]
pub struct RateLimitLayer<P = Plain> {
    row: RowLayer<Guards<RateLimit>, P>,
}

/// A service behind a [`RateLimitLayer`].
pub type RateLimited<S, P = Plain> = Row<S, Guards<RateLimit>, P>;

impl RateLimitLayer {
    /// Limits calls to `quota`. The bucket is full at the start.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let limit = Guards::new(RateLimit::new(quota));
        Self {
            row: RowLayer::new(limit, Plain::default()),
        }
    }
}

impl<P> RateLimitLayer<P> {
    /// Names this limit in refusals; `ratelimit` by default.
    #[must_use]
    pub fn name(mut self, name: &'static str) -> Self {
        self.row.role_mut().policy_mut().name = name;
        self
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.row.role_mut().policy_mut().clock = clock;
        self
    }

    /// Returns a handle on the bucket, which all services of this layer share. Take it after the options are set.
    #[must_use]
    pub fn handle(&self) -> RateLimitHandle {
        RateLimitHandle(self.row.role().policy().clone())
    }
}

towerkit_core::row_layer!(RateLimitLayer, Guards<RateLimit>, Plain);

/// Reads the state of a rate limit while it runs.
#[derive(Debug, Clone)]
pub struct RateLimitHandle(RateLimit);

impl RateLimitHandle {
    /// Returns how many calls would be admitted at this moment.
    #[must_use]
    pub fn available(&self) -> u32 {
        self.0.bucket.available(self.0.clock.now())
    }

    /// Returns the quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.0.quota
    }
}
