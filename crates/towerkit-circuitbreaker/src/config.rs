use std::{
    num::NonZeroU16,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use towerkit_core::{CallEnd, Clock, ConfigError, CountAs, EventQueue, Name};

use crate::{
    generation::StateWord,
    open_duration::{OpenDuration, nanos},
    open_when::OpenWhen,
};

/// The options of a circuit breaker that can be changed while it runs.
///
/// Set by the methods of the same name on the [layer](crate::CircuitBreakerLayer), or all at once by
/// [`CircuitBreakerLayer::options`](crate::CircuitBreakerLayer::options) and
/// [`CircuitBreakerHandle::update`](crate::CircuitBreakerHandle::update).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CircuitBreakerOptions {
    pub(crate) open_when: OpenWhen,
    pub(crate) open_duration: OpenDuration,
    pub(crate) probes: NonZeroU16,
    pub(crate) probe_timeout: u64,
}

impl CircuitBreakerOptions {
    /// Sets the condition that opens the breaker.
    ///
    /// By default half of the last 100 results are failures, once there are 20 results.
    #[must_use]
    pub fn open_when(self, open_when: OpenWhen) -> Self {
        Self { open_when, ..self }
    }

    /// Sets how long the breaker stays open; 10 seconds by default.
    ///
    /// # Errors
    ///
    /// If `duration` is zero or does not fit into 64 bits of nanoseconds (584 years).
    pub fn open_for(self, duration: Duration) -> Result<Self, ConfigError> {
        OpenDuration::new(duration).map(|duration| self.open_duration(duration))
    }

    /// Sets how long the breaker stays open, with backoff or jitter.
    #[must_use]
    pub fn open_duration(self, open_duration: OpenDuration) -> Self {
        Self {
            open_duration,
            ..self
        }
    }

    /// Sets how many probes must succeed to close a half-open breaker; 1 by default.
    ///
    /// A half-open breaker admits no more calls than that.
    ///
    /// # Errors
    ///
    /// If `probes` is not 1 to 1023.
    pub fn probes(self, probes: u16) -> Result<Self, ConfigError> {
        match NonZeroU16::new(probes) {
            Some(probes) if probes.get() <= StateWord::MAX_PROBES => Ok(Self { probes, ..self }),
            _ => Err(ConfigError::new("probes", probes, "1 to 1023")),
        }
    }

    /// Sets when another call may replace a probe; after 1 minute by default.
    ///
    /// If a [half-open](crate::State::HalfOpen) breaker has all its probes in flight and has admitted none of them for this long, the
    /// next calls replace them, and the results of the replaced probes no longer count. So a probe that never ends does not keep a
    /// breaker half-open. Set it longer than a healthy call, or stream, takes.
    ///
    /// # Errors
    ///
    /// If `timeout` is zero or does not fit into 64 bits of nanoseconds (584 years).
    pub fn probe_timeout(self, timeout: Duration) -> Result<Self, ConfigError> {
        let probe_timeout = nanos("probe timeout", timeout)?;
        Ok(Self {
            probe_timeout,
            ..self
        })
    }
}

impl Default for CircuitBreakerOptions {
    fn default() -> Self {
        Self {
            open_when: OpenWhen::default(),
            open_duration: OpenDuration::default(),
            probes: NonZeroU16::MIN,
            probe_timeout: 60_000_000_000,
        }
    }
}

/// The configuration of a breaker, as the setters of its layer left it.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) options: CircuitBreakerOptions,
    pub(crate) seed: Option<u64>,
    pub(crate) name: Name,
    pub(crate) clock: Clock,
    pub(crate) events: EventQueue,
    pub(crate) count_as: Option<Arc<CountAsFn>>,
    /// True if services are not ready while the breaker rejects calls.
    pub(crate) backpressure: bool,
}

type CountAsFn = dyn Fn(&CallEnd) -> CountAs + Send + Sync;

impl Config {
    /// Returns how a call with this end counts.
    #[inline]
    pub(crate) fn count_as(&self, end: &CallEnd) -> CountAs {
        match &self.count_as {
            None => CountAs::of(end),
            Some(count_as) => call_user_function(&**count_as, end),
        }
    }
}

/// Calls the user's function, except for a panic, which is a failure. If the function panics, the default applies.
///
/// A call may end because a panic unwinds through it; a second panic that leaves this function would abort the process.
fn call_user_function(count_as: &CountAsFn, end: &CallEnd) -> CountAs {
    if end.has_panicked() {
        return CountAs::Failure;
    }
    catch_unwind(AssertUnwindSafe(|| count_as(end))).unwrap_or_else(|_| CountAs::of(end))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            options: CircuitBreakerOptions::default(),
            seed: None,
            name: Name::new("circuitbreaker"),
            clock: Clock::default(),
            events: EventQueue::default(),
            count_as: None,
            backpressure: false,
        }
    }
}
