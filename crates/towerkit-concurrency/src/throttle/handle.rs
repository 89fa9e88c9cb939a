use std::fmt;

use towerkit_core::{Name, StateHandle};

use super::guard::AdaptiveThrottlePolicy;

/// Reads the state of a running [`AdaptiveThrottleLayer`](crate::AdaptiveThrottleLayer).
///
/// Returned by [`AdaptiveThrottleLayer::handle`](crate::AdaptiveThrottleLayer::handle).
#[derive(Clone)]
pub struct AdaptiveThrottleHandle(pub(crate) StateHandle<AdaptiveThrottlePolicy>);

/// The state of a throttle at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AdaptiveThrottleSnapshot {
    /// The calls in the window, both sent and rejected.
    pub calls: u32,
    /// The calls in the window that the upstream accepted.
    pub accepted: u32,
    /// The probability with which the next call is rejected.
    pub rejection_probability: f64,
    /// The total number of rejected calls.
    pub rejected: u64,
}

impl AdaptiveThrottleHandle {
    /// Returns the [name](crate::AdaptiveThrottleLayer::name) of the throttle.
    #[must_use]
    pub fn name(&self) -> Name {
        self.0.get().config().name.clone()
    }

    /// Returns the current state.
    #[must_use]
    pub fn snapshot(&self) -> AdaptiveThrottleSnapshot {
        let policy = self.0.get();
        let counts = policy.counts();
        AdaptiveThrottleSnapshot {
            calls: counts.calls,
            accepted: counts.accepted,
            rejection_probability: counts.rejection_probability(policy.config().multiplier),
            rejected: policy.rejected(),
        }
    }
}

impl fmt::Debug for AdaptiveThrottleHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdaptiveThrottleHandle")
            .field(&self.snapshot())
            .finish()
    }
}
