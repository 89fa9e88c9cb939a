use std::{sync::Arc, time::Duration};

use towerkit_core::{Clock, End, EventSink, Guards, Plain, Row, RowLayer, row_layer};

use crate::{
    CircuitBreaker, InvalidSetting, OpenTime, Options, Trip, Verdict, setters::setters,
    settings::Settings,
};

/// Stops calling a service that fails, and tries it again later.
///
/// All services that one layer makes share one breaker.
#[derive(Debug, Clone)]
pub struct CircuitBreakerLayer<P = Plain> {
    row: RowLayer<Guards<CircuitBreaker>, P>,
}

/// A service behind a [`CircuitBreakerLayer`].
pub type CircuitBroken<S, P = Plain> = Row<S, Guards<CircuitBreaker>, P>;

impl CircuitBreakerLayer {
    /// Makes a breaker that is closed; the setters say what it does by default.
    #[must_use]
    pub fn new() -> Self {
        let breaker = CircuitBreaker::new(Settings::default());
        Self {
            row: RowLayer::new(Guards::new(breaker), Plain::default()),
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

    /// Returns the breaker, which all services of this layer share.
    ///
    /// Take it last: a setter makes a new breaker, of which an earlier handle knows nothing.
    #[must_use]
    pub fn handle(&self) -> CircuitBreaker {
        self.row.role().policy().clone()
    }

    fn settings(&self) -> &Settings {
        self.row.role().policy().settings()
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings().clone();
        set(&mut settings);
        *self.row.role_mut().policy_mut() = CircuitBreaker::new(settings);
        self
    }
}

row_layer!(CircuitBreakerLayer, Guards<CircuitBreaker>, Plain);
