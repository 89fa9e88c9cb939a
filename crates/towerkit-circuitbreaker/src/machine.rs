#[cfg(feature = "backpressure")]
mod backpressure;
mod control;

#[cfg(feature = "backpressure")]
pub(crate) use backpressure::Hold;
use std::{sync::PoisonError, time::Duration};

use towerkit_core::{Event, EventQueue, WakerSet};

use crate::{
    CircuitBreakerOptions, CountAs, Mode, State,
    epoch::Epoch,
    in_flight::InFlight,
    ledger::{Ledger, Revision},
    mark::Mark,
    open_duration::Schedule,
    settings::Settings,
    sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering},
    word::Word,
};

/// The state of a breaker, and how calls, their results and time move it.
///
/// Admission reads one word and, in a half-open breaker, counts its probe there. A change of state, which is rare, takes its turn
/// under a lock that keeps the epoch: it finds out whether the breaker is still where the change starts from, empties the ledger,
/// publishes the word of the next epoch, and puts the event into the outbox. So events stand in the outbox in the order of the
/// changes, and no result counts but in the epoch that admitted its call.
pub(crate) struct Machine {
    word: AtomicU64,
    ledger: Ledger,
    opened_at: AtomicU64,
    open_for: AtomicU64,
    /// When the latest probe was let through, or later.
    probed_at: AtomicU64,
    probes: AtomicU32,
    probe_timeout: AtomicU64,
    /// 1 if calls are admitted that the breaker rejects, and how many were.
    observing: AtomicU32,
    let_through: AtomicU64,
    name: &'static str,
    turn: Mutex<Turn>,
    outbox: EventQueue,
    /// The services that wait until a call may go ahead, if any are to.
    waiting: Option<WakerSet>,
}

/// What a change of state starts from.
struct Turn {
    epoch: Epoch,
    mode: Mode,
    options: CircuitBreakerOptions,
    /// The revision of the limits in the options.
    revision: Revision,
    schedule: Schedule,
}

impl Turn {
    /// Whether the next opening stays as short as the first.
    fn is_fresh(&self, now: u64) -> bool {
        self.schedule.is_fresh(self.options.open_duration, now)
    }
}

/// Why a call may not go ahead: how long the breaker stays open, where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected(pub(crate) Option<Duration>);

impl Machine {
    pub(crate) fn new(settings: &Settings) -> Self {
        let (first, options) = (Epoch::FIRST, settings.options);
        let ledger = Ledger::new(&options.open_when, first);
        let turn = Turn {
            epoch: first,
            mode: Mode::Automatic,
            options,
            revision: ledger.adopt(&options.open_when),
            schedule: Schedule::new(settings.seed),
        };
        Self {
            word: AtomicU64::new(Word::entering(first).bits()),
            ledger,
            opened_at: AtomicU64::new(0),
            open_for: AtomicU64::new(0),
            probed_at: AtomicU64::new(0),
            probes: AtomicU32::new(options.probes.get().into()),
            probe_timeout: AtomicU64::new(options.probe_timeout),
            observing: AtomicU32::new(0),
            let_through: AtomicU64::new(0),
            name: settings.name,
            turn: Mutex::new(turn),
            outbox: EventQueue::new(settings.sink.clone()),
            waiting: settings.backpressure.then(WakerSet::new),
        }
    }

    /// Returns the epoch, if it is one of the closed state: all there is to the admission of most calls.
    #[inline(always)]
    pub(crate) fn closed(&self) -> Option<Epoch> {
        let epoch = self.word().epoch();
        epoch.is_closed().then_some(epoch)
    }

    /// Whether calls must be timed.
    #[inline(always)]
    pub(crate) fn times_calls(&self) -> bool {
        self.ledger.times_calls()
    }

    /// Whether more is asked of calls than how long they ran in the end.
    #[inline(always)]
    pub(crate) fn watches_calls(&self) -> bool {
        self.ledger.watches_calls()
    }

    /// Whether calls are timed to the head of their response.
    pub(crate) fn times_to_head(&self) -> bool {
        self.ledger.times_to_head()
    }

    /// Returns the calls in flight, if they are to be counted while they hang.
    #[inline(always)]
    pub(crate) fn in_flight(&self) -> Option<&InFlight> {
        self.ledger.in_flight()
    }

    /// Whether `epoch` is not over.
    pub(crate) fn is_in(&self, epoch: Epoch) -> bool {
        self.word().epoch() == epoch
    }

    /// Counts `calls` of epoch `held` that hang.
    pub(crate) fn count_hanging(&self, held: Epoch, calls: u64, now: u64) {
        // A breaker that opens on the way wants no more of them.
        let calls = (0..calls).take_while(|_| self.is_in(held));
        calls.for_each(|_| self.finish_at(held, Mark::HANGS, now));
    }

    /// Returns after how many nanoseconds a call is slow.
    pub(crate) fn slow_after(&self) -> u64 {
        self.ledger.slow_after()
    }

    /// Whether the success of a call that was admitted in `held` changes nothing: so it is with most calls.
    #[inline(always)]
    pub(crate) fn is_spotless(&self, held: Epoch) -> bool {
        held.is_closed() && self.ledger.is_spotless(held)
    }

    /// Admits a call or rejects it. Reads the time unless the breaker is closed.
    pub(crate) fn admit(&self, now: impl FnMut() -> u64) -> Result<Epoch, Rejected> {
        let decided = self.decide(now);
        if decided.is_err() && self.is_observing() {
            self.let_through.fetch_add(1, Ordering::Relaxed);
            return Ok(Epoch::UNCOUNTED);
        }
        decided
    }

    /// Says whether a call would be rejected now, and changes nothing.
    pub(crate) fn early_rejection(&self, now: impl Fn() -> u64) -> Option<Rejected> {
        let word = self.word();
        let rejected = match word.state() {
            State::Closed | State::ForcedClosed | State::Disabled => None,
            State::Open => self.time_left(now()).map(|left| Rejected(Some(left))),
            State::HalfOpen if self.has_place(word, now()) => None,
            State::HalfOpen | State::ForcedOpen => Some(Rejected(None)),
        };
        rejected.filter(|_| !self.is_observing())
    }

    /// Takes the result of an admitted call. Reads the time if results are counted by time, and if the state changes.
    #[inline(always)]
    pub(crate) fn finish(&self, held: Epoch, mark: Mark, now: impl Fn() -> u64) {
        if !held.is_closed() {
            self.finish_elsewhere(held, mark, now);
        } else if mark.is_result()
            && let Some(revision) = self.ledger.record(held, mark, &now)
        {
            self.open(held, revision, now());
        }
    }

    /// The same at a time that is known, and out of the way of most calls.
    #[inline(never)]
    pub(crate) fn finish_at(&self, held: Epoch, mark: Mark, now: u64) {
        self.finish(held, mark, || now);
    }

    pub(crate) fn state(&self) -> State {
        self.word().state()
    }

    /// Delivers the events of what was done without a word, and wakes the services that wait. No lock may be held, since a sink may
    /// use the breaker.
    pub(crate) fn deliver(&self) {
        self.outbox.deliver();
        self.wake();
    }

    /// Wakes the services that wait, after a change that may let a call in.
    fn wake(&self) {
        if let Some(waiting) = &self.waiting {
            waiting.wake_all();
        }
    }

    #[inline(always)]
    fn word(&self) -> Word {
        // Acquire pairs with the Release of `publish`: who sees an epoch sees its opening time and its empty ledger.
        Word::of(self.word.load(Ordering::Acquire))
    }

    fn decide(&self, mut now: impl FnMut() -> u64) -> Result<Epoch, Rejected> {
        let mut word = self.word();
        loop {
            match word.state() {
                State::Closed | State::ForcedClosed | State::Disabled => return Ok(word.epoch()),
                State::ForcedOpen => return Err(Rejected(None)),
                State::Open => {
                    let now = now();
                    if let Some(left) = self.time_left(now) {
                        return Err(Rejected(Some(left)));
                    }
                    self.change(word.epoch(), State::HalfOpen, now);
                }
                State::HalfOpen => {
                    if self.probe(word, now())? {
                        return Ok(word.epoch());
                    }
                }
            }
            word = self.word();
        }
    }

    /// Takes a place among the probes. Returns false if the breaker has moved on or must be looked at again.
    fn probe(&self, word: Word, now: u64) -> Result<bool, Rejected> {
        let probes = self.probes();
        if let Some(with_probe) = word.with_probe(probes) {
            // First the time, so that whoever sees the probe sees a time that is not too early for it.
            self.probed_at.fetch_max(now, Ordering::AcqRel);
            return Ok(self.exchange(word, with_probe).is_ok());
        }
        if word.succeeded() >= probes {
            // Fewer are needed than when they were let through.
            self.change(word.epoch(), State::Closed, now);
        } else if self.is_overdue(now) {
            self.reclaim(word);
        } else {
            return Err(Rejected(None));
        }
        Ok(false)
    }

    /// Goes on without the probes that are in flight: their epoch is over.
    #[cold]
    fn reclaim(&self, word: Word) {
        let mut turn = self.lock();
        if turn.epoch == word.epoch() {
            let next = turn.epoch.followed_by(State::HalfOpen);
            if self.exchange(word, word.reclaimed(next)).is_ok() {
                turn.epoch = next;
            }
        }
        drop(turn);
        self.wake();
    }

    /// Takes the result of a call that was not admitted in the closed state.
    #[cold]
    fn finish_elsewhere(&self, held: Epoch, mark: Mark, now: impl Fn() -> u64) {
        match held.state() {
            State::HalfOpen if mark.slow || mark.failed() => self.change(held, State::Open, now()),
            State::HalfOpen => self.end_probe(held, mark.verdict == CountAs::Success, now),
            State::ForcedClosed if mark.is_result() => drop(self.ledger.record(held, mark, now)),
            _ => {}
        }
    }

    /// Takes a probe of epoch `held` out of flight, and closes the breaker with the last success that it takes.
    fn end_probe(&self, held: Epoch, succeeded: bool, now: impl Fn() -> u64) {
        let mut word = self.word();
        while word.epoch() == held {
            let without_probe = word.without_probe(succeeded);
            match self.exchange(word, without_probe) {
                Ok(()) if without_probe.succeeded() >= self.probes() => {
                    return self.change(held, State::Closed, now());
                }
                Ok(()) => return self.wake(),
                Err(seen) => word = seen,
            }
        }
    }

    /// Opens the breaker, unless it has gone somewhere else by now or what was reached is no longer the limit.
    #[cold]
    fn open(&self, from: Epoch, revision: Revision, now: u64) {
        let mut turn = self.lock();
        let open_when = &turn.options.open_when;
        let is_reached = turn.revision == revision || self.ledger.reaches(open_when, from, now);
        if turn.epoch == from && is_reached {
            self.enter(&mut turn, State::Open, now);
        }
        drop(turn);
        self.deliver();
    }

    /// Goes from one epoch to the next, unless the breaker has gone somewhere else by now.
    #[cold]
    fn change(&self, from: Epoch, to: State, now: u64) {
        let mut turn = self.lock();
        if turn.epoch == from {
            self.enter(&mut turn, to, now);
        }
        drop(turn);
        self.deliver();
    }

    /// Begins the next epoch, in state `to`; an event says so if the state is another one.
    fn enter(&self, turn: &mut Turn, to: State, now: u64) {
        let from = turn.epoch.state();
        match to {
            State::Open => {
                let open_for = turn.schedule.open(turn.options.open_duration, now);
                self.open_for.store(open_for, Ordering::Relaxed);
                // A clock that steps back must not shorten the time: it goes on from the latest opening.
                self.opened_at.fetch_max(now, Ordering::Relaxed);
            }
            State::Closed => turn.schedule.close(now),
            _ => {}
        }
        turn.epoch = turn.epoch.followed_by(to);
        self.ledger.reset(turn.epoch);
        self.publish(turn.epoch);
        if from != to {
            self.outbox.push(Event::CircuitChanged {
                name: self.name.into(),
                from: from.as_str(),
                to: to.as_str(),
            });
        }
    }

    fn publish(&self, epoch: Epoch) {
        // Release pairs with the Acquire of `word`. Probes that are counted at this moment fall away with their epoch.
        self.word
            .swap(Word::entering(epoch).bits(), Ordering::AcqRel);
    }

    /// Returns how long the open breaker stays so, or `None` if its time is over.
    fn time_left(&self, now: u64) -> Option<Duration> {
        let opened_at = self.opened_at.load(Ordering::Relaxed);
        let left = opened_at
            .saturating_add(self.open_for.load(Ordering::Relaxed))
            .saturating_sub(now.max(opened_at));
        (left > 0).then(|| Duration::from_nanos(left))
    }

    fn has_place(&self, word: Word, now: u64) -> bool {
        let probes = self.probes();
        word.with_probe(probes).is_some() || word.succeeded() >= probes || self.is_overdue(now)
    }

    /// Whether all probes that are in flight have been so for longer than they may.
    fn is_overdue(&self, now: u64) -> bool {
        self.time_until_overdue(now).is_zero()
    }

    fn time_until_overdue(&self, now: u64) -> Duration {
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

    /// Replaces the word, whose state stays.
    fn exchange(&self, from: Word, to: Word) -> Result<(), Word> {
        // AcqRel: the one that sees the last probe succeed, and closes the breaker, comes after all of them.
        self.word
            .compare_exchange(from.bits(), to.bits(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Word::of)
    }

    fn lock(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
