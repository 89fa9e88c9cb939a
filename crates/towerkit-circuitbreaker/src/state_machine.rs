use std::{sync::PoisonError, time::Duration};

#[cfg(feature = "backpressure")]
use towerkit_core::Notified;
use towerkit_core::{CountAs, Event, EventQueue, Name, WakerSet};

use crate::{
    call_result::CallResult,
    config::{CircuitBreakerOptions, Config},
    generation::{Generation, StateWord},
    in_flight_calls::InFlightCalls,
    open_duration::OpenSchedule,
    state::{CircuitBreakerSnapshot, Mode, State},
    sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering},
    window_counts::{Revision, WindowCounts},
};

/// The state machine of a breaker: how calls, their results and time change its [`State`].
///
/// Admission reads one [`StateWord`], and counts a probe there if the breaker is half-open. A change of state, which is rare, takes the
/// lock of the [`Transition`]. It checks that the breaker is still in the [`Generation`] that the change starts from, empties the
/// windows, publishes the word of the next generation and queues the event. So events are queued in the order of the changes, and a
/// result counts only in the generation that admitted its call.
pub(crate) struct StateMachine {
    word: AtomicU64,
    counts: WindowCounts,
    opened_at: AtomicU64,
    open_for: AtomicU64,
    /// The time at which the latest probe was admitted, or a later one.
    probed_at: AtomicU64,
    probes: AtomicU32,
    probe_timeout: AtomicU64,
    /// 1 in [`Mode::Observing`].
    observing: AtomicU32,
    let_through: AtomicU64,
    name: Name,
    transition: Mutex<Transition>,
    events: EventQueue,
    /// The services that are not ready until the breaker admits a call; `None` without backpressure.
    wakers: Option<WakerSet>,
}

/// The part of the state that only changes under the lock.
struct Transition {
    generation: Generation,
    mode: Mode,
    options: CircuitBreakerOptions,
    /// The revision of the thresholds in the options.
    revision: Revision,
    schedule: OpenSchedule,
}

/// A rejection, with the rest of the open duration if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected(pub(crate) Option<Duration>);

/// Admission and results.
impl StateMachine {
    pub(crate) fn new(config: &Config) -> Self {
        let (first, options) = (Generation::FIRST, config.options);
        let counts = WindowCounts::new(&options.open_when, first);
        let transition = Transition {
            generation: first,
            mode: Mode::Automatic,
            options,
            revision: counts.set_thresholds(&options.open_when),
            schedule: OpenSchedule::new(config.seed),
        };
        Self {
            word: AtomicU64::new(StateWord::new(first).bits()),
            counts,
            opened_at: AtomicU64::new(0),
            open_for: AtomicU64::new(0),
            probed_at: AtomicU64::new(0),
            probes: AtomicU32::new(options.probes.get().into()),
            probe_timeout: AtomicU64::new(options.probe_timeout),
            observing: AtomicU32::new(0),
            let_through: AtomicU64::new(0),
            name: config.name.clone(),
            transition: Mutex::new(transition),
            events: config.events.clone(),
            wakers: config.backpressure.then(WakerSet::new),
        }
    }

    /// Returns the generation if the breaker is closed: for most calls this is the whole admission.
    #[inline(always)]
    pub(crate) fn closed(&self) -> Option<Generation> {
        let generation = self.word().generation();
        generation.is_closed().then_some(generation)
    }

    /// Returns true if the duration of calls is measured.
    #[inline(always)]
    pub(crate) fn times_calls(&self) -> bool {
        self.counts.times_calls()
    }

    /// Returns true if the duration of calls is not only measured at their end.
    #[inline(always)]
    pub(crate) fn tracks_calls(&self) -> bool {
        self.counts.tracks_calls()
    }

    /// Returns true if calls are measured to the head of the response.
    pub(crate) fn times_to_head(&self) -> bool {
        self.counts.times_to_head()
    }

    /// Returns the calls in flight, if slow calls are counted while they are in flight.
    #[inline(always)]
    pub(crate) fn in_flight(&self) -> Option<&InFlightCalls> {
        self.counts.in_flight()
    }

    /// Returns true if `generation` is not over.
    pub(crate) fn is_in(&self, generation: Generation) -> bool {
        self.word().generation() == generation
    }

    /// Counts so many calls of `generation` that are still in flight as slow.
    pub(crate) fn count_slow_in_flight(&self, generation: Generation, calls: u64, now: u64) {
        // If one of them opens the breaker, the others no longer count.
        let calls = (0..calls).take_while(|_| self.is_in(generation));
        calls.for_each(|_| self.finish_at(generation, CallResult::SLOW_IN_FLIGHT, now));
    }

    /// Returns the slow-call threshold in nanoseconds.
    pub(crate) fn slow_after(&self) -> u64 {
        self.counts.slow_after()
    }

    /// Returns true if the success of a call of `generation` would not change the breaker, as for most calls.
    #[inline(always)]
    pub(crate) fn ignores_success(&self, generation: Generation) -> bool {
        generation.is_closed() && self.counts.ignore_success(generation)
    }

    /// Admits a call or rejects it. Reads the time unless the breaker is closed.
    pub(crate) fn admit(&self, now: impl FnMut() -> u64) -> Result<Generation, Rejected> {
        let decision = self.decide(now);
        if decision.is_err() && self.is_observing() {
            self.let_through.fetch_add(1, Ordering::Relaxed);
            return Ok(Generation::UNCOUNTED);
        }
        decision
    }

    /// Returns the rejection of a call that came now, without changing the state.
    pub(crate) fn early_rejection(&self, now: impl Fn() -> u64) -> Option<Rejected> {
        let word = self.word();
        let rejected = match word.state() {
            State::Closed | State::ForcedClosed | State::Disabled => None,
            State::Open => self.time_left(now()).map(|left| Rejected(Some(left))),
            State::HalfOpen if self.may_probe(word, now()) => None,
            State::HalfOpen | State::ForcedOpen => Some(Rejected(None)),
        };
        rejected.filter(|_| !self.is_observing())
    }

    /// Counts the result of a call that `generation` admitted. Reads the time if a window over time counts it, and if the state
    /// changes.
    #[inline(always)]
    pub(crate) fn finish(&self, generation: Generation, result: CallResult, now: impl Fn() -> u64) {
        if !generation.is_closed() {
            self.finish_unless_closed(generation, result, now);
        } else if result.counts()
            && let Some(revision) = self.counts.record(generation, result, &now)
        {
            self.open(generation, revision, now());
        }
    }

    /// Does the same as [`finish`](Self::finish) at a known time, in a function of its own that most calls do not run.
    #[inline(never)]
    pub(crate) fn finish_at(&self, generation: Generation, result: CallResult, now: u64) {
        self.finish(generation, result, || now);
    }

    pub(crate) fn state(&self) -> State {
        self.word().state()
    }

    #[inline(always)]
    fn word(&self) -> StateWord {
        // Acquire pairs with the Release of `publish`: a thread that sees a generation sees its opening time and its empty windows.
        StateWord::from_bits(self.word.load(Ordering::Acquire))
    }

    fn decide(&self, mut now: impl FnMut() -> u64) -> Result<Generation, Rejected> {
        let mut word = self.word();
        loop {
            match word.state() {
                State::Closed | State::ForcedClosed | State::Disabled => {
                    return Ok(word.generation());
                }
                State::ForcedOpen => return Err(Rejected(None)),
                State::Open => {
                    let now = now();
                    if let Some(left) = self.time_left(now) {
                        return Err(Rejected(Some(left)));
                    }
                    self.change(word.generation(), State::HalfOpen, now);
                }
                State::HalfOpen => {
                    if self.try_probe(word, now())? {
                        return Ok(word.generation());
                    }
                }
            }
            word = self.word();
        }
    }

    /// Admits a probe. Returns false if the state has changed, so that the caller must decide again.
    fn try_probe(&self, word: StateWord, now: u64) -> Result<bool, Rejected> {
        let probes = self.probes();
        if let Some(with_probe) = word.with_probe(probes) {
            // The time comes first, so that a thread that sees the probe does not see a time before it.
            self.probed_at.fetch_max(now, Ordering::AcqRel);
            return Ok(self.exchange(word, with_probe).is_ok());
        }
        if word.probes_succeeded() >= probes {
            // An update has lowered the number of probes since they were admitted.
            self.change(word.generation(), State::Closed, now);
        } else if self.time_until_replacement(now).is_zero() {
            self.replace_probes(word);
        } else {
            return Err(Rejected(None));
        }
        Ok(false)
    }

    /// Starts a half-open generation without the probes in flight, so that their results no longer count.
    #[cold]
    fn replace_probes(&self, word: StateWord) {
        let mut transition = self.lock();
        if transition.generation == word.generation() {
            let next = transition.generation.next(State::HalfOpen);
            let without_probes = word.without_probes_in_flight(next);
            if self.exchange(word, without_probes).is_ok() {
                transition.generation = next;
            }
        }
        drop(transition);
        self.wake();
    }

    /// Counts the result of a call that was admitted in another state than closed.
    #[cold]
    fn finish_unless_closed(
        &self,
        generation: Generation,
        result: CallResult,
        now: impl Fn() -> u64,
    ) {
        match generation.state() {
            State::HalfOpen if result.slow || result.failed() => {
                self.change(generation, State::Open, now());
            }
            State::HalfOpen => {
                self.end_probe(generation, result.count_as == CountAs::Success, now);
            }
            State::ForcedClosed if result.counts() => {
                let _ = self.counts.record(generation, result, now);
            }
            _ => {}
        }
    }

    /// Ends a probe of `generation`, and closes the breaker if it was the last success that is needed.
    fn end_probe(&self, generation: Generation, succeeded: bool, now: impl Fn() -> u64) {
        let mut word = self.word();
        while word.generation() == generation {
            let without_probe = word.without_probe(succeeded);
            match self.exchange(word, without_probe) {
                Ok(()) if without_probe.probes_succeeded() >= self.probes() => {
                    return self.change(generation, State::Closed, now());
                }
                Ok(()) => return self.wake(),
                Err(seen) => word = seen,
            }
        }
    }

    /// Returns the rest of the open duration, or `None` if it is over.
    fn time_left(&self, now: u64) -> Option<Duration> {
        let opened_at = self.opened_at.load(Ordering::Relaxed);
        let left = opened_at
            .saturating_add(self.open_for.load(Ordering::Relaxed))
            .saturating_sub(now.max(opened_at));
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// Returns true if a half-open breaker would admit a call at `now`.
    fn may_probe(&self, word: StateWord, now: u64) -> bool {
        let probes = self.probes();
        word.with_probe(probes).is_some()
            || word.probes_succeeded() >= probes
            || self.time_until_replacement(now).is_zero()
    }

    /// Returns the time until all probes in flight have reached the probe timeout.
    fn time_until_replacement(&self, now: u64) -> Duration {
        let probed_at = self.probed_at.load(Ordering::Acquire);
        let timeout = self.probe_timeout.load(Ordering::Relaxed);
        Duration::from_nanos(timeout.saturating_sub(now.saturating_sub(probed_at)))
    }

    fn probes(&self) -> u16 {
        self.probes.load(Ordering::Relaxed) as u16
    }

    fn is_observing(&self) -> bool {
        self.observing.load(Ordering::Relaxed) != 0
    }

    /// Replaces the word by another one of the same state.
    fn exchange(&self, from: StateWord, to: StateWord) -> Result<(), StateWord> {
        // AcqRel: the thread that sees the last probe succeed, and closes the breaker, comes after all probes.
        self.word
            .compare_exchange(from.bits(), to.bits(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(StateWord::from_bits)
    }
}

/// Changes of state.
impl StateMachine {
    /// Opens the breaker, unless the state has changed or the threshold that was reached is no longer current.
    #[cold]
    fn open(&self, from: Generation, revision: Revision, now: u64) {
        let mut transition = self.lock();
        let open_when = &transition.options.open_when;
        let is_reached = transition.revision == revision || self.counts.reach(open_when, from, now);
        if transition.generation == from && is_reached {
            self.enter(&mut transition, State::Open, now);
        }
        drop(transition);
        self.deliver();
    }

    /// Changes the state, unless it has changed from `from` to another one in the meantime.
    #[cold]
    fn change(&self, from: Generation, to: State, now: u64) {
        let mut transition = self.lock();
        if transition.generation == from {
            self.enter(&mut transition, to, now);
        }
        drop(transition);
        self.deliver();
    }

    /// Starts the next generation in the state `to`, and queues an event if this is another state.
    fn enter(&self, transition: &mut Transition, to: State, now: u64) {
        let from = transition.generation.state();
        match to {
            State::Open => {
                let open_duration = transition.options.open_duration;
                let open_for = transition.schedule.next(open_duration, now);
                self.open_for.store(open_for, Ordering::Relaxed);
                // A clock that steps back must not shorten the open duration: it starts at the latest opening.
                self.opened_at.fetch_max(now, Ordering::Relaxed);
            }
            State::Closed => transition.schedule.record_closed(now),
            _ => {}
        }
        transition.generation = transition.generation.next(to);
        self.counts.reset(transition.generation);
        self.publish(transition.generation);
        if from != to {
            self.events.push(Event::CircuitChanged {
                name: self.name.clone(),
                from: from.as_str(),
                to: to.as_str(),
            });
        }
    }

    fn publish(&self, generation: Generation) {
        // Release pairs with the Acquire of `word`. Probes admitted at this moment end with their generation.
        self.word
            .swap(StateWord::new(generation).bits(), Ordering::AcqRel);
    }

    /// Delivers queued events and wakes waiting services. The caller holds no lock, because an event sink may use the breaker.
    pub(crate) fn deliver(&self) {
        self.events.deliver();
        self.wake();
    }

    /// Wakes waiting services after a change that may admit a call.
    fn wake(&self) {
        if let Some(wakers) = &self.wakers {
            wakers.wake_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Transition> {
        self.transition
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The operations of a handle and of a table of breakers.
impl StateMachine {
    pub(crate) fn snapshot(&self, now: u64) -> CircuitBreakerSnapshot {
        let transition = self.lock();
        let word = self.word();
        let totals = self.counts.totals(word.generation(), now);
        CircuitBreakerSnapshot {
            state: word.state(),
            mode: transition.mode,
            results: totals.results,
            failures: totals.failures,
            slow: totals.slow,
            probes_in_flight: word.probes_in_flight(),
            probes_succeeded: word.probes_succeeded(),
            let_through: self.let_through.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn options(&self) -> CircuitBreakerOptions {
        self.lock().options
    }

    /// Changes the options. The counts stay if the same is counted in the same windows; otherwise counting starts again.
    pub(crate) fn update(&self, options: CircuitBreakerOptions) {
        let mut transition = self.lock();
        if !transition.options.open_when.counts_like(&options.open_when) {
            let current = transition.generation;
            if matches!(current.state(), State::Closed | State::ForcedClosed) {
                transition.generation = current.next(current.state());
                self.counts.reset(transition.generation);
            }
            self.counts
                .set_windows(&options.open_when, transition.generation);
            if transition.generation != current {
                self.publish(transition.generation);
            }
        }
        transition.options = options;
        transition.revision = self.counts.set_thresholds(&options.open_when);
        self.probes
            .store(options.probes.get().into(), Ordering::Relaxed);
        self.probe_timeout
            .store(options.probe_timeout, Ordering::Relaxed);
        drop(transition);
        // More probes may be admitted now, or probes replaced earlier.
        self.wake();
    }

    /// Changes the mode; [`deliver`](Self::deliver) delivers the event.
    pub(crate) fn set_mode(&self, mode: Mode) {
        let mut transition = self.lock();
        if transition.mode == mode {
            return;
        }
        transition.mode = mode;
        self.observing
            .store((mode == Mode::Observing).into(), Ordering::Relaxed);
        let to = match mode {
            Mode::ForcedOpen => State::ForcedOpen,
            Mode::ForcedClosed => State::ForcedClosed,
            Mode::Disabled => State::Disabled,
            Mode::Observing if !transition.generation.state().is_forced() => return,
            Mode::Automatic | Mode::Observing => State::Closed,
        };
        transition.schedule.reset();
        self.enter(&mut transition, to, 0);
    }

    /// Resets the breaker for another key, if its present key would not notice.
    ///
    /// That is so if the breaker is in `mode` and either forced, or closed without a failed or slow result and without backoff at
    /// `now`.
    pub(crate) fn try_reset(&self, mode: Mode, now: u64) -> bool {
        let mut transition = self.lock();
        let current = transition.generation;
        let is_idle = match current.state() {
            State::Closed => {
                let open_duration = transition.options.open_duration;
                self.counts.are_unmarked(current, now)
                    && transition.schedule.is_reset(open_duration, now)
            }
            state => state.is_forced(),
        };
        let resets = is_idle && transition.mode == mode;
        if resets {
            transition.schedule.reset();
            self.let_through.store(0, Ordering::Relaxed);
            self.enter(&mut transition, current.state(), now);
        }
        resets
    }
}

/// A wait until the breaker may admit a call.
#[cfg(feature = "backpressure")]
pub(crate) struct Wait {
    /// Resolves when the breaker has changed.
    pub(crate) changed: Notified,
    /// The time after which it would admit a call without a change; `None` if it would not.
    pub(crate) timeout: Option<Duration>,
}

#[cfg(feature = "backpressure")]
impl StateMachine {
    /// Returns a wait if services apply backpressure and a call would be rejected now.
    #[cold]
    #[inline(never)]
    pub(crate) fn wait(&self, now: impl Fn() -> u64) -> Option<Wait> {
        let wakers = self.wakers.as_ref()?;
        self.rejection_time(now())?;
        let changed = wakers.notified();
        // Asked again, so that a change between the two is not missed.
        let timeout = self.rejection_time(now())?;
        Some(Wait { changed, timeout })
    }

    /// Returns the time until a call is admitted, if it is rejected at `now`; `Some(None)` if time alone does not change that.
    fn rejection_time(&self, now: u64) -> Option<Option<Duration>> {
        let word = self.word();
        let time = match word.state() {
            State::Closed | State::ForcedClosed | State::Disabled => None,
            State::Open => self.time_left(now).map(Some),
            State::HalfOpen if self.may_probe(word, now) => None,
            State::HalfOpen => Some(Some(self.time_until_replacement(now))),
            State::ForcedOpen => Some(None),
        };
        time.filter(|_| !self.is_observing())
    }
}
