use std::{sync::Arc, time::Duration};

use towerkit_core::{Clock, End, EventSink, Guards, LayerState, Plain, Row, RowLayer, row_layer};

use crate::{
    CircuitBreaker, CircuitBreakerPolicy, InvalidSetting, OpenTime, Options, Trip, Verdict,
    setters::setters, settings::Settings,
};

/// Stops calling a service that fails, and tries it again later.
///
/// All services that one layer makes share one breaker.
#[derive(Debug, Clone)]
pub struct CircuitBreakerLayer<P = Plain> {
    row: RowLayer<Guards<CircuitBreakerPolicy>, P>,
    state: LayerState<CircuitBreakerPolicy>,
}

/// A service behind a [`CircuitBreakerLayer`].
pub type CircuitBroken<S, P = Plain> = Row<S, Guards<CircuitBreakerPolicy>, P>;

impl CircuitBreakerLayer {
    /// Makes a breaker that is closed; the setters say what it does by default.
    #[must_use]
    pub fn new() -> Self {
        let breaker = CircuitBreakerPolicy::new(Settings::default());
        Self {
            row: RowLayer::new(Guards::new(breaker.clone()), Plain::default()),
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
    pub fn handle(&self) -> CircuitBreaker {
        CircuitBreaker(self.state.handle())
    }

    fn settings(&self) -> &Settings {
        self.row.role().policy().settings()
    }

    pub(crate) fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings().clone();
        set(&mut settings);
        let breaker = CircuitBreakerPolicy::new(settings);
        if self.row.is_used() {
            self.state.mark_used();
        }
        self.state.replace(breaker.clone());
        *self.row.role_mut().policy_mut() = breaker;
        self
    }
}

row_layer!(
    CircuitBreakerLayer { state },
    Guards<CircuitBreakerPolicy>,
    Plain
);
