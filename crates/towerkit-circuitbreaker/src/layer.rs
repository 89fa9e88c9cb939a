use std::{num::NonZeroU16, sync::Arc, time::Duration};

use towerkit_core::{Clock, End, EventSink, Guards, Plain, RowLayer, row_layer};

use crate::{CircuitBreaker, InvalidSetting, Trip, Verdict, invalid::Problem, settings::Settings};

/// Stops calling a service that fails, and tries it again later.
///
/// All services that one layer makes share one breaker. For the crate's whole story see [the crate docs](crate).
#[derive(Debug, Clone)]
pub struct CircuitBreakerLayer<P = Plain> {
    row: RowLayer<Guards<CircuitBreaker>, P>,
}

row_layer!(CircuitBreakerLayer, Guards<CircuitBreaker>, Plain);

impl CircuitBreakerLayer {
    /// Makes a breaker with the default settings: see the setters.
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
    /// Says when the breaker opens. By default half of the last 100 results are failures, once there are 20.
    #[must_use]
    pub fn trip(self, trip: Trip) -> Self {
        self.with(|settings| settings.trip = trip)
    }

    /// Says how long an open breaker refuses calls before it tries probes. 10 seconds by default.
    ///
    /// # Errors
    ///
    /// If `time` is 0, or does not fit in 64 bits of nanoseconds (584 years).
    pub fn open_for(self, time: Duration) -> Result<Self, InvalidSetting> {
        if time.is_zero() || u64::try_from(time.as_nanos()).is_err() {
            return Err(InvalidSetting(Problem::OpenFor(time)));
        }
        Ok(self.with(|settings| settings.open_for = time))
    }

    /// Says how many probes must succeed to close a half-open breaker; as many may be in flight at once. 1 by default.
    #[must_use]
    pub fn probes(self, probes: NonZeroU16) -> Self {
        self.with(|settings| settings.probes = probes)
    }

    /// Says what the end of a call says about the callee. [`Verdict::of`] by default.
    ///
    /// A panic of the inner service is a failure without asking.
    #[must_use]
    pub fn verdict(self, verdict: impl Fn(&End) -> Verdict + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.verdict = Some(Arc::new(verdict)))
    }

    /// Names this breaker in rejections and events. `circuit breaker` by default.
    #[must_use]
    pub fn name(self, name: &'static str) -> Self {
        self.with(|settings| settings.name = name)
    }

    /// Says which clock measures the open time. [`Clock::monotonic`] by default; it is not read while the breaker is closed.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|settings| settings.clock = clock)
    }

    /// Says where changes of state are reported. Nowhere by default.
    #[must_use]
    pub fn events(self, sink: impl EventSink + 'static) -> Self {
        self.with(|settings| settings.sink = Some(Arc::new(sink)))
    }

    /// Returns the breaker, to look at it and to force its state.
    ///
    /// Take it last: every setter makes a new breaker, which earlier handles know nothing of.
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
