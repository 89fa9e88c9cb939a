use std::{sync::Arc, time::Duration};

use towerkit_core::{Clock, EventQueue, Name};
use towerkit_keyed::WhenFull;
use towerkit_ratelimit::Quota;

use crate::{
    key_slot::nanos,
    lease::{Lease, LeaseLimits},
    local_bucket::Gcra,
    script_quota::ScriptQuota,
    store::Store,
};

/// The options that the setters of [`RedisRateLimitLayer`](crate::RedisRateLimitLayer) fill.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) quota: Quota,
    pub(crate) script_quota: ScriptQuota,
    pub(crate) name: Name,
    pub(crate) prefix: Arc<str>,
    pub(crate) clock: Clock,
    /// `None` derives the size from the burst.
    pub(crate) lease_size: Option<u32>,
    pub(crate) lease_time: Duration,
    pub(crate) timeout: Duration,
    pub(crate) capacity: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) fallback: Fallback,
    pub(crate) events: EventQueue,
}

/// The decision about a call while Redis is unreachable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fallback {
    Admit,
    Reject,
    /// Each key has a bucket in this process.
    Local(Gcra),
}

impl Config {
    pub(crate) fn new(store: Arc<dyn Store>, quota: Quota, script_quota: ScriptQuota) -> Self {
        Self {
            store,
            quota,
            script_quota,
            name: Name::new("ratelimit"),
            prefix: "towerkit:ratelimit".into(),
            clock: Clock::default(),
            lease_size: None,
            lease_time: Duration::from_secs(1),
            timeout: Duration::from_millis(100),
            capacity: 1,
            when_full: WhenFull::Bypass,
            fallback: Fallback::Local(Gcra::of(&quota)),
            events: EventQueue::default(),
        }
    }

    /// Returns the limits of a lease under the quota that is in force.
    pub(crate) fn lease_limits(&self, quota: ScriptQuota) -> LeaseLimits {
        let size = self.lease_size.unwrap_or(quota.burst / 10);
        LeaseLimits {
            time: nanos(self.lease_time),
            size: size.clamp(1, quota.burst.min(Lease::MAX)),
            timeout: nanos(self.timeout),
        }
    }
}
