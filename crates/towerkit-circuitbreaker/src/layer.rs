use std::{sync::Arc, time::Duration};

use towerkit_core::{
    AsGuard, CallEnd, Clock, EventSink, LayerState, Plain, PolicyLayer, PolicyService, policy_layer,
};

use crate::{
    CircuitBreakerHandle, CircuitBreakerOptions, CircuitBreakerPolicy, CountAs, InvalidSetting,
    OpenDuration, OpenWhen, setters::setters, settings::Settings,
};

/// Stops calling a service that fails, and tries it again later.
///
/// All services that one layer makes share one breaker.
#[derive(Debug, Clone)]
pub struct CircuitBreakerLayer<P = Plain> {
    policies: PolicyLayer<AsGuard<CircuitBreakerPolicy>, P>,
    state: LayerState<CircuitBreakerPolicy>,
}

/// A service behind a [`CircuitBreakerLayer`].
pub type CircuitBreaker<S, P = Plain> = PolicyService<S, AsGuard<CircuitBreakerPolicy>, P>;

impl CircuitBreakerLayer {
    /// Makes a breaker that is closed; the setters say what it does by default.
    #[must_use]
    pub fn new() -> Self {
        let breaker = CircuitBreakerPolicy::new(Settings::default());
        Self {
            policies: PolicyLayer::new(AsGuard::new(breaker.clone()), Plain::default()),
            state: LayerState::new(breaker),
        }
    }
}

impl Default for CircuitBreakerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> CircuitBreakerLayer<P> {
    setters!();

    /// Returns a handle on the breaker, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerHandle(self.state.handle())
    }

    fn settings(&self) -> &Settings {
        self.policies.policy().get().settings()
    }

    pub(crate) fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings().clone();
        set(&mut settings);
        let breaker = CircuitBreakerPolicy::new(settings);
        if self.policies.is_used() {
            self.state.mark_used();
        }
        self.state.replace(breaker.clone());
        *self.policies.policy_mut().get_mut() = breaker;
        self
    }
}

policy_layer!(
    CircuitBreakerLayer { state },
    AsGuard<CircuitBreakerPolicy>,
    Plain
);
