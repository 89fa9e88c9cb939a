use std::sync::Arc;
use std::sync::atomic::Ordering;

use guides::InFlightLimitPolicy;
use towerkit_core::{AsGuard, Plain, PolicyLayer, PolicyService, policy_layer};

/// Limits the number of calls in flight, over all services that it makes.
#[derive(Debug, Clone)]
pub struct InFlightLimitLayer<P = Plain> {
    policies: PolicyLayer<AsGuard<Arc<InFlightLimitPolicy>>, P>,
}

/// A service behind an [`InFlightLimitLayer`].
pub type InFlightLimit<S, P = Plain> = PolicyService<S, AsGuard<Arc<InFlightLimitPolicy>>, P>;

impl InFlightLimitLayer {
    /// Admits at most `permits` calls at a time.
    #[must_use]
    pub fn new(permits: usize) -> Self {
        let permits = permits.into();
        let policy = AsGuard::new(Arc::new(InFlightLimitPolicy { permits }));
        Self {
            policies: PolicyLayer::new(policy, Plain::default()),
        }
    }
}

impl<P> InFlightLimitLayer<P> {
    /// Returns a handle on the limit, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> InFlightLimitHandle {
        InFlightLimitHandle(self.policies.policy().get().clone())
    }
}

policy_layer!(InFlightLimitLayer, AsGuard<Arc<InFlightLimitPolicy>>, Plain);

/// Reads the state of an [`InFlightLimitLayer`].
#[derive(Debug, Clone)]
pub struct InFlightLimitHandle(Arc<InFlightLimitPolicy>);

impl InFlightLimitHandle {
    /// Returns the number of free permits.
    #[must_use]
    pub fn permits(&self) -> usize {
        self.0.permits.load(Ordering::Relaxed)
    }
}
