use std::{num::NonZeroU16, sync::Arc, time::Duration};

use towerkit_core::{Clock, End, EventSink, Guards, Plain, Row, RowLayer, row_layer};

use crate::{CircuitBreaker, InvalidSetting, Trip, Verdict, invalid::Problem, settings::Settings};

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
    /// Says when the breaker opens; by default when half of the last 100 results are failures, once there are 20.
    #[must_use]
    pub fn trip(self, trip: Trip) -> Self {
        self.with(|settings| settings.trip = trip)
    }

    /// Says how long an open breaker refuses calls before it lets probes through; 10 seconds by default.
    ///
    /// # Errors
    ///
    /// If `time` is zero, or does not fit in 64 bits of nanoseconds (584 years).
    pub fn open_for(self, time: Duration) -> Result<Self, InvalidSetting> {
        if time.is_zero() || u64::try_from(time.as_nanos()).is_err() {
            return Err(InvalidSetting(Problem::OpenTime(time)));
        }
        Ok(self.with(|settings| settings.open_for = time))
    }

    /// Says how many probes must succeed to close a half-open breaker; no more than that are let through. 1 by default.
    ///
    /// # Errors
    ///
    /// If `probes` is 0.
    pub fn probes(self, probes: u16) -> Result<Self, InvalidSetting> {
        match NonZeroU16::new(probes) {
            Some(probes) => Ok(self.with(|settings| settings.probes = probes)),
            None => Err(InvalidSetting(Problem::Zero("number of probes"))),
        }
    }

    /// Judges what the end of a call says about the callee; [`Verdict::of`] by default.
    ///
    /// A panic of the inner service is a failure without asking. If `verdict` itself panics, the call is judged by default.
    #[must_use]
    pub fn verdict(self, verdict: impl Fn(&End) -> Verdict + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.verdict = Some(Arc::new(verdict)))
    }

    /// Names this breaker in refusals and events; `circuitbreaker` by default.
    #[must_use]
    pub fn name(self, name: &'static str) -> Self {
        self.with(|settings| settings.name = name)
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default. A closed breaker reads none.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|settings| settings.clock = clock)
    }

    /// Reports every change of state to `sink`; to no one by default.
    #[must_use]
    pub fn events(self, sink: impl EventSink + 'static) -> Self {
        self.with(|settings| settings.sink = Some(Arc::new(sink)))
    }

    /// Returns the breaker, which all services of this layer share.
    ///
    /// Take it last: a setter makes a new breaker, of which an earlier handle knows nothing.
    #[must_use]
    pub fn handle(&self) -> CircuitBreaker {
        self.row.role().policy().clone()
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        let breaker = self.row.role_mut().policy_mut();
        let mut settings = breaker.shared().settings.clone();
        set(&mut settings);
        *breaker = CircuitBreaker::new(settings);
        self
    }
}

row_layer!(CircuitBreakerLayer, Guards<CircuitBreaker>, Plain);
