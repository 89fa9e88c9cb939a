use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32 as StdAtomicU32, AtomicU64 as StdAtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use towerkit_core::{CallEnd, Clock, CountAs, Event, Outcome};
use towerkit_discovery::Address;

use crate::{
    config::Config,
    decay::{DecayingNumber, HalfLife},
    ejections::{EjectionState, Ejections},
    sync::{AtomicU64, Ordering},
};

/// The state that the instances of one balancer share.
pub(crate) struct SharedState {
    pub(crate) config: Config,
    pub(crate) ejections: Ejections,
    measures_latency: bool,
    /// `None` without a penalty.
    penalty_half_life: Option<HalfLife>,
    latency_half_life: HalfLife,
    /// Called after an ejection or its end.
    on_ejection: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// The time constant of the average of latencies, as in Finagle.
const LATENCY_TIME_CONSTANT: Duration = Duration::from_secs(10);

impl SharedState {
    pub(crate) fn new(config: Config, measures_latency: bool) -> Self {
        let penalty = config.failure_penalty;
        Self {
            ejections: Ejections::new(),
            measures_latency,
            penalty_half_life: (!penalty.is_zero()).then(|| HalfLife::of_time_constant(penalty)),
            latency_half_life: HalfLife::of_time_constant(LATENCY_TIME_CONSTANT),
            on_ejection: OnceLock::new(),
            config,
        }
    }

    /// Sets the function that is called after an ejection or its end, outside of all locks.
    pub(crate) fn set_on_ejection(&self, call: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_ejection.set(Box::new(call));
    }

    fn after_ejection(&self) {
        self.config.events.deliver();
        if let Some(call) = self.on_ejection.get() {
            // It builds the table of the user's picker: a panic there is not one of this call.
            let _ = catch_unwind(AssertUnwindSafe(call));
        }
    }
}

impl fmt::Debug for SharedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedState")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The state of an instance, except for its calls in flight.
///
/// The fields that each choice reads come first, in the order of the declaration, so that they are in one cache line.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct InstanceStats {
    /// The weight of recent failures, in calls in flight.
    penalty: DecayingNumber,
    /// The time at which the instance appeared, during its slow start; 0 after it.
    warming_since: AtomicU64,
    ejection: EjectionState,
    id: u32,
    measures_latency: bool,
    /// The latency in microseconds.
    latency: DecayingNumber,
    shared: Arc<SharedState>,
    rare: Box<RareStats>,
}

/// The part of the state of an instance that a successful call does not need.
#[derive(Debug)]
struct RareStats {
    failures: StdAtomicU64,
    ejections: StdAtomicU64,
    endpoint_id: u64,
    address: Address,
}

impl InstanceStats {
    pub(crate) fn new(shared: Arc<SharedState>, endpoint_id: u64, address: Address) -> Self {
        // The ids of all balancers differ, because one may be behind another.
        static NEXT_ID: StdAtomicU32 = StdAtomicU32::new(1);
        Self {
            ejection: EjectionState::new(),
            penalty: DecayingNumber::new(),
            warming_since: AtomicU64::new(0),
            latency: DecayingNumber::new(),
            // Zero is no id; after four billion instances an id may be that of an instance that is long gone.
            id: NEXT_ID.fetch_add(1, Relaxed).max(1),
            measures_latency: shared.measures_latency,
            shared,
            rare: Box::new(RareStats {
                failures: StdAtomicU64::new(0),
                ejections: StdAtomicU64::new(0),
                endpoint_id,
                address,
            }),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn endpoint_id(&self) -> u64 {
        self.rare.endpoint_id
    }

    pub(crate) fn ejection(&self) -> &EjectionState {
        &self.ejection
    }

    pub(crate) fn failures(&self) -> u64 {
        self.rare.failures.load(Relaxed)
    }

    pub(crate) fn ejection_count(&self) -> u64 {
        self.rare.ejections.load(Relaxed)
    }

    /// Begins the slow start, if there is one.
    pub(crate) fn begin_slow_start(&self, now: u64) {
        if !self.shared.config.slow_start.is_zero() {
            self.warming_since.store(now.max(1), Ordering::Relaxed);
        }
    }

    /// Continues the state of the same instance with another service.
    pub(crate) fn continue_from(&self, other: &Self) {
        self.ejection.copy_from(&other.ejection);
        self.penalty.copy_from(&other.penalty);
        self.latency.copy_from(&other.latency);
        let since = other.warming_since.load(Ordering::Relaxed);
        self.warming_since.store(since, Ordering::Relaxed);
        self.rare.failures.store(other.failures(), Relaxed);
        self.rare.ejections.store(other.ejection_count(), Relaxed);
    }

    /// Returns the load for a choice. Reads the clock only if there were failures lately, or during the slow start.
    #[inline(always)]
    pub(crate) fn load(&self, in_flight: u32) -> f32 {
        let load = in_flight as f32;
        if self.is_adjusted() {
            return self.adjusted_load(load);
        }
        load
    }

    /// Returns true if the load is not only the calls in flight.
    #[inline(always)]
    pub(crate) fn is_adjusted(&self) -> bool {
        !self.penalty.is_zero() | (self.warming_since.load(Ordering::Relaxed) != 0)
    }

    #[cold]
    #[inline(never)]
    fn adjusted_load(&self, load: f32) -> f32 {
        let now = self.shared.config.clock.now();
        if self.is_held_back(now) {
            return f32::INFINITY;
        }
        match self.shared.penalty_half_life {
            Some(half_life) => load + self.penalty.at_or_forget(now, half_life),
            None => load,
        }
    }

    /// Draws whether an instance in its slow start is passed over, so that its share rises from a tenth to all of it.
    ///
    /// It is in two tenths of the pairs of ten instances, and wins them while its load is low: its share is twice that of its pairs.
    fn is_held_back(&self, now: u64) -> bool {
        let since = self.warming_since.load(Ordering::Relaxed);
        if since == 0 {
            return false;
        }
        let part =
            now.saturating_sub(since) as f64 / self.shared.config.slow_start.as_nanos() as f64;
        if part >= 1.0 {
            self.warming_since.store(0, Ordering::Relaxed);
            return false;
        }
        2.0 * fastrand::f64() >= part.max(0.1)
    }

    /// Returns the latency in microseconds.
    #[inline(always)]
    pub(crate) fn latency(&self, now: u64) -> Option<f32> {
        self.latency.at(now, self.shared.latency_half_life)
    }

    /// Returns true if the instance gets no calls. Ends an ejection whose time is over.
    #[inline(always)]
    pub(crate) fn is_ejected(&self) -> bool {
        self.ejection.is_ejected() && self.is_still_ejected()
    }

    #[cold]
    #[inline(never)]
    fn is_still_ejected(&self) -> bool {
        let until = self.ejection.until();
        if self.shared.config.clock.now() < until {
            return !self.shared.ejections.is_panicking();
        }
        self.restore(Some(until));
        false
    }

    /// Ends an ejection; with `until`, only the one that ends at this time.
    pub(crate) fn restore(&self, until: Option<u64>) -> bool {
        let shared = &*self.shared;
        let is_restored = shared.ejections.restore(&self.ejection, until, || {
            match &shared.config.outlier_ejection {
                // On trial, if its time is over and nobody has decided.
                Some(rule) if until.is_some() => self.ejection.begin_trial(rule),
                _ => {
                    self.ejection.reset_streaks();
                    self.penalty.reset();
                }
            }
            self.push_event("instance_restored", || self.rare.address.to_string());
        });
        if is_restored {
            shared.after_ejection();
        }
        is_restored
    }

    /// Ejects the instance for a time, whatever the rules say.
    pub(crate) fn eject(&self, time: Duration) -> bool {
        let shared = &*self.shared;
        // Ends an ejection that is over, if no call has done so.
        self.is_ejected();
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let until = shared.config.clock.now().saturating_add(nanos);
        let is_ejected = shared.ejections.eject(&self.ejection, until, || {
            self.rare.ejections.fetch_add(1, Relaxed);
            self.push_event("instance_ejected", || {
                format!("{}: by hand, for {time:?}", self.rare.address)
            });
        });
        if is_ejected {
            shared.after_ejection();
        }
        is_ejected
    }

    fn push_event(&self, event: &'static str, message: impl FnOnce() -> String) {
        let config = &self.shared.config;
        if config.events.has_sink() {
            config.events.push(Event::Other {
                layer: "balance",
                name: config.name.clone(),
                event,
                message: message().into(),
            });
        }
    }

    /// Returns the time of the start of a call; 0 if it does not matter.
    #[inline(always)]
    pub(crate) fn start(&self, now: impl FnOnce(&Clock) -> u64) -> u64 {
        if self.measures_latency {
            now(&self.shared.config.clock).max(1)
        } else {
            0
        }
    }

    /// Measures the latency to the head of a response, and sets the time of the start to 0.
    #[inline(always)]
    pub(crate) fn on_response_head(&self, started: &mut u64, so_far: &CallEnd) {
        if *started != 0 && CountAs::of(so_far) != CountAs::Failure {
            let now = so_far.now(&self.shared.config.clock);
            self.include_latency(now.saturating_sub(*started), now);
            *started = 0;
        }
    }

    #[inline(always)]
    pub(crate) fn on_end(&self, started: u64, end: &CallEnd) {
        if end.outcome() == Outcome::Success {
            self.on_success(started, end);
        } else {
            self.judge(started, end);
        }
    }

    #[inline(always)]
    fn on_success(&self, started: u64, end: &CallEnd) {
        if started != 0 {
            let now = end.now(&self.shared.config.clock);
            self.include_latency(now.saturating_sub(started), now);
        }
        if self.ejection.has_streak() {
            self.ejection.reset_streaks();
        }
    }

    #[inline(never)]
    fn judge(&self, started: u64, end: &CallEnd) {
        let config = &self.shared.config;
        match CountAs::of(end) {
            CountAs::Success => self.on_success(started, end),
            CountAs::Failure => {
                let now = end.now(&config.clock);
                let took = if started == 0 {
                    0
                } else {
                    now.saturating_sub(started)
                };
                self.on_failure(took, now);
            }
            CountAs::Ignored => self.on_ignored(started, end),
        }
    }

    #[inline(always)]
    fn include_latency(&self, took: u64, now: u64) {
        self.latency
            .include_peak(micros(took), now, self.shared.latency_half_life);
    }

    /// Counts a failed call, or a service that failed to get ready.
    #[cold]
    pub(crate) fn on_failure(&self, took: u64, now: u64) {
        let shared = &*self.shared;
        self.rare.failures.fetch_add(1, Relaxed);
        self.penalize(now);
        if shared.measures_latency {
            let penalty = shared.config.failure_penalty.as_nanos() as u64;
            self.include_latency(took.max(penalty), now);
        }
        let streaks = self.ejection.count_failure();
        let Some(rule) = &shared.config.outlier_ejection else {
            return;
        };
        let is_ejected = shared
            .ejections
            .on_failure(&self.ejection, streaks, rule, now, |time| {
                self.rare.ejections.fetch_add(1, Relaxed);
                self.push_event("instance_ejected", || {
                    let failures = self.ejection.consecutive_failures();
                    let time = Duration::from_nanos(time);
                    format!(
                        "{}: {failures} failures in a row, for {time:?}",
                        self.rare.address
                    )
                });
            });
        if is_ejected {
            shared.after_ejection();
        }
    }

    /// A call that was rejected further in, or cancelled, says little about the health of the instance. But a rejection that is ready
    /// at once must not attract calls, and a cancelled call took at least its time.
    #[cold]
    fn on_ignored(&self, started: u64, end: &CallEnd) {
        let now = end.now(&self.shared.config.clock);
        if end.rejection_reason().is_some() {
            self.penalize(now);
        } else if started != 0 {
            let (took, half_life) = (
                micros(now.saturating_sub(started)),
                self.shared.latency_half_life,
            );
            if self
                .latency
                .at(now, half_life)
                .is_none_or(|latency| latency < took)
            {
                self.latency.include_peak(took, now, half_life);
            }
        }
    }

    fn penalize(&self, now: u64) {
        if let Some(half_life) = self.shared.penalty_half_life {
            self.penalty.add(1.0, now, half_life);
        }
    }
}

fn micros(nanos: u64) -> f32 {
    nanos as f32 / 1_000.0
}
