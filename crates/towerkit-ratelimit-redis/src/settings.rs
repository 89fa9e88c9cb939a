use std::{sync::Arc, time::Duration};

use towerkit_core::{Clock, EventSink};
use towerkit_ratelimit::Quota;

use crate::{
    lease::Lease,
    measure::Measure,
    place::{Terms, nanos},
    spare::Spacing,
    store::Store,
};

/// What a limit is told before it is shared.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) quota: Quota,
    pub(crate) measure: Measure,
    pub(crate) name: &'static str,
    pub(crate) prefix: Arc<str>,
    pub(crate) clock: Clock,
    /// `None` leaves the size to the quota.
    pub(crate) lease_size: Option<u32>,
    pub(crate) lease_time: Duration,
    pub(crate) timeout: Duration,
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    pub(crate) away: Away,
    pub(crate) sink: Option<Arc<dyn EventSink>>,
}

/// What becomes of a call whose key finds no room in the process, because all the room is taken by keys with unspent tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// It asks Redis for a token of its own.
    Ask,
    /// It is rejected as [`Overloaded`](towerkit_core::RejectionReason::Overloaded).
    Reject,
}

/// What becomes of a call while Redis is away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Away {
    Admit,
    Reject,
    Within(Spacing),
}

impl Settings {
    pub(crate) fn new(store: Arc<dyn Store>, quota: Quota, measure: Measure) -> Self {
        Self {
            store,
            quota,
            measure,
            name: "ratelimit",
            prefix: "towerkit:ratelimit".into(),
            clock: Clock::default(),
            lease_size: None,
            lease_time: Duration::from_secs(1),
            timeout: Duration::from_millis(100),
            capacity: 1,
            overflow: Overflow::Ask,
            away: Away::Within(Spacing::of(&quota)),
            sink: None,
        }
    }

    pub(crate) fn terms(&self, measure: Measure) -> Terms {
        let most = self.lease_size.unwrap_or(measure.burst / 10);
        Terms {
            time: nanos(self.lease_time),
            most: most.clamp(1, measure.burst.min(Lease::MOST)),
            timeout: nanos(self.timeout),
        }
    }
}
