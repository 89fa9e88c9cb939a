use std::{fmt, sync::Arc};

#[cfg(feature = "backpressure")]
use tokio::time::timeout;
#[cfg(feature = "backpressure")]
use towerkit_core::Backpressure;
use towerkit_core::{Call, CallEnd, CountAs, Guard, Outcome, Policy, Rejection, RejectionReason};

use crate::{
    call_result::CallResult,
    config::Config,
    generation::Generation,
    in_flight_calls::InFlightCalls,
    state::{CircuitBreakerSnapshot, State},
    state_machine::{Rejected, StateMachine},
};

/// The guard behind a [`CircuitBreakerLayer`](crate::CircuitBreakerLayer), shared by all of its services.
#[derive(Clone)]
pub struct CircuitBreakerPolicy(Arc<Shared>);

struct Shared {
    machine: StateMachine,
    config: Config,
}

impl CircuitBreakerPolicy {
    pub(crate) fn new(config: Config) -> Self {
        Self(Arc::new(Shared {
            machine: StateMachine::new(&config),
            config,
        }))
    }

    pub(crate) fn machine(&self) -> &StateMachine {
        &self.0.machine
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn snapshot(&self) -> CircuitBreakerSnapshot {
        let now = self.0.config.clock.now();
        self.breaker().count_slow_in_flight(|| now);
        self.0.machine.snapshot(now)
    }

    #[inline(always)]
    fn breaker(&self) -> Breaker<'_> {
        Breaker {
            machine: &self.0.machine,
            config: &self.0.config,
        }
    }
}

impl Policy for CircuitBreakerPolicy {
    type CallState = CallState;

    #[inline(always)]
    fn on_response_head(&self, call: &mut CallState, so_far: &CallEnd) {
        self.breaker().head(call, so_far);
    }

    #[inline(always)]
    fn finish(&self, call: CallState, end: &CallEnd) {
        self.breaker().finish(call, end);
    }
}

impl<Req> Guard<Req> for CircuitBreakerPolicy {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<CallState, Rejection> {
        self.breaker().admit(call)
    }

    #[inline(always)]
    fn early_rejection(&self) -> Option<Rejection> {
        self.breaker().early_rejection()
    }

    #[cfg(feature = "backpressure")]
    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        self.breaker().backpressure()
    }
}

impl fmt::Debug for CircuitBreakerPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.0.config.name)
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}

/// The state of one call: the generation that admitted it, and its start if calls are timed.
#[derive(Debug, Clone, Copy)]
pub struct CallState {
    started: u64,
    generation: Generation,
    timing: Timing,
}

/// How the breaker finds out if a call is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timing {
    /// The call is not timed.
    Off,
    /// At its end.
    AtEnd,
    /// At its head, or at its end if it has no head.
    AtHead,
    /// By the [`InFlightCalls`], or else as `AtHead` or `AtEnd`.
    InFlight,
    /// Found out at its head.
    Known { slow: bool },
    /// The call was counted as slow while it was in flight.
    CountedAsSlow,
}

/// A state machine together with the configuration that calls need.
#[derive(Clone, Copy)]
pub(crate) struct Breaker<'a> {
    pub(crate) machine: &'a StateMachine,
    pub(crate) config: &'a Config,
}

impl Breaker<'_> {
    #[inline(always)]
    pub(crate) fn admit<Req>(self, call: &mut Call<'_, Req>) -> Result<CallState, Rejection> {
        let generation = match self.machine.closed() {
            Some(generation) => generation,
            None => self.admit_unless_closed(&mut || call.now(&self.config.clock))?,
        };
        if !self.machine.times_calls() {
            return Ok(CallState {
                started: 0,
                generation,
                timing: Timing::Off,
            });
        }
        if self.machine.tracks_calls() {
            return self.admit_tracked(generation, &mut || call.now(&self.config.clock));
        }
        Ok(CallState {
            started: call.now(&self.config.clock),
            generation,
            timing: Timing::AtEnd,
        })
    }

    /// Takes the time of the head of a response, if calls are measured to their head.
    #[inline(always)]
    pub(crate) fn head(self, call: &mut CallState, so_far: &CallEnd) {
        if matches!(call.timing, Timing::AtHead | Timing::InFlight) {
            self.head_of_tracked(call, so_far);
        }
    }

    #[inline(always)]
    pub(crate) fn finish(self, call: CallState, end: &CallEnd) {
        let is_ignored =
            || self.config.count_as.is_none() && self.machine.ignores_success(call.generation);
        if end.outcome() == Outcome::Success && is_ignored() {
            return;
        }
        self.count(call, end);
    }

    #[inline(always)]
    pub(crate) fn early_rejection(self) -> Option<Rejection> {
        match self.machine.closed() {
            Some(_) => None,
            None => self.early_rejection_unless_closed(),
        }
    }

    /// Returns a wait if services apply backpressure and a call would be rejected now.
    #[cfg(feature = "backpressure")]
    #[inline(always)]
    fn backpressure(self) -> Option<Backpressure> {
        match self.machine.closed() {
            Some(_) => None,
            None => self.backpressure_unless_closed(),
        }
    }

    /// Counts the calls in flight that have run longer than the slow-call threshold.
    #[inline]
    pub(crate) fn count_slow_in_flight(self, now: impl FnOnce() -> u64) {
        if let Some(in_flight) = self.machine.in_flight() {
            let now = now();
            if in_flight.is_due(now) {
                in_flight.expire(now, |generation, calls| {
                    self.machine.count_slow_in_flight(generation, calls, now);
                });
            }
        }
    }

    /// Cancels a call that was admitted but is not made.
    #[cold]
    pub(crate) fn cancel(self, call: CallState) {
        self.remove_in_flight(call);
        let result = CallResult::new(CountAs::Ignored, &CallEnd::cancelled(), false);
        let now = self.config.clock.now();
        self.machine.finish_at(call.generation, result, now);
    }

    /// Admits a call that is timed in another way than at its end.
    #[inline(never)]
    fn admit_tracked(
        self,
        mut generation: Generation,
        now: &mut dyn FnMut() -> u64,
    ) -> Result<CallState, Rejection> {
        let started = now();
        self.count_slow_in_flight(|| started);
        // Slow calls in flight may just have opened the breaker.
        if generation.counts_results() && !self.machine.is_in(generation) {
            generation = self.admit_unless_closed(now)?;
        }
        let is_in_flight =
            generation.counts_results() && self.insert_in_flight(generation, started);
        let timing = match self.machine.times_to_head() {
            _ if is_in_flight => Timing::InFlight,
            true => Timing::AtHead,
            false => Timing::AtEnd,
        };
        Ok(CallState {
            started,
            generation,
            timing,
        })
    }

    #[cold]
    fn admit_unless_closed(self, now: &mut dyn FnMut() -> u64) -> Result<Generation, Rejection> {
        self.count_slow_in_flight(&mut *now);
        self.machine
            .admit(now)
            .map_err(|rejected| self.rejection(rejected))
    }

    #[cold]
    fn early_rejection_unless_closed(self) -> Option<Rejection> {
        let now = || self.config.clock.now();
        self.count_slow_in_flight(now);
        self.machine
            .early_rejection(now)
            .map(|rejected| self.rejection(rejected))
    }

    #[cfg(feature = "backpressure")]
    #[cold]
    fn backpressure_unless_closed(self) -> Option<Backpressure> {
        let now = || self.config.clock.now();
        self.count_slow_in_flight(now);
        let wait = self.machine.wait(now)?;
        let changed = wait.changed;
        Some(match wait.timeout {
            Some(time) => Backpressure::new(async move { drop(timeout(time, changed).await) }),
            None => Backpressure::new(changed),
        })
    }

    /// The head of a rejection by an inner layer does not count; the call is measured to its end.
    #[inline(never)]
    fn head_of_tracked(self, call: &mut CallState, so_far: &CallEnd) {
        if self.machine.times_to_head() && so_far.rejection_reason().is_none() {
            let slow = self.is_too_long(*call, so_far);
            call.timing = if self.remove_in_flight(*call) {
                Timing::Known { slow }
            } else {
                Timing::CountedAsSlow
            };
        }
    }

    #[inline(never)]
    fn count(self, call: CallState, end: &CallEnd) {
        let too_long = match call.timing {
            Timing::Off => false,
            Timing::AtEnd => self.is_too_long(call, end),
            _ => return self.count_tracked(call, end),
        };
        let result = CallResult::new(self.config.count_as(end), end, too_long);
        let now = || end.now(&self.config.clock);
        self.machine.finish(call.generation, result, now);
    }

    #[inline(never)]
    fn count_tracked(self, call: CallState, end: &CallEnd) {
        let counted_as_slow = call.timing == Timing::CountedAsSlow || !self.remove_in_flight(call);
        let too_long = match call.timing {
            Timing::Known { slow } => slow,
            Timing::CountedAsSlow => true,
            _ => self.is_too_long(call, end),
        };
        let mut result = CallResult::new(self.config.count_as(end), end, too_long);
        if counted_as_slow {
            result = result.but_slow();
        }
        let now = end.now(&self.config.clock);
        self.machine.finish_at(call.generation, result, now);
        self.count_slow_in_flight(|| now);
    }

    fn is_too_long(self, call: CallState, end: &CallEnd) -> bool {
        let took = end.now(&self.config.clock).saturating_sub(call.started);
        took > self.machine.slow_after()
    }

    /// Adds a call to the [`InFlightCalls`], if slow calls are counted while they are in flight; returns true if it was added.
    fn insert_in_flight(self, generation: Generation, started: u64) -> bool {
        let Some(in_flight) = self.machine.in_flight() else {
            return false;
        };
        let (has_bucket, slow) = in_flight.insert(generation, started);
        self.machine.count_slow_in_flight(generation, slow, started);
        has_bucket
    }

    /// Removes a call from the [`InFlightCalls`]; returns false if it was counted as slow.
    ///
    /// A slow probe has opened the breaker and no longer counts, so that it is treated like any other call.
    fn remove_in_flight(self, call: CallState) -> bool {
        let remove = |in_flight: &InFlightCalls| in_flight.remove(call.generation, call.started);
        call.timing != Timing::InFlight
            || self.machine.in_flight().is_none_or(remove)
            || call.generation.state() == State::HalfOpen
    }

    fn rejection(self, Rejected(wait): Rejected) -> Rejection {
        let rejection = Rejection::new(RejectionReason::CircuitOpen, self.config.name.clone());
        match wait {
            Some(wait) => rejection.with_retry_after(wait),
            None => rejection,
        }
    }
}
