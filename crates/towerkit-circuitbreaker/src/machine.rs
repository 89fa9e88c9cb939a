use std::{num::NonZeroU16, sync::PoisonError, time::Duration};

use towerkit_core::{Event, Outbox};

use crate::{
    Snapshot, State, Verdict,
    epoch::Epoch,
    ledger::Ledger,
    settings::Settings,
    sync::{AtomicU64, Mutex, Ordering},
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
    open_for: u64,
    probes: NonZeroU16,
    name: &'static str,
    turn: Mutex<Epoch>,
    outbox: Outbox,
}

/// Why a call may not go ahead: how long the breaker stays open, where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) Option<Duration>);

impl Machine {
    pub(crate) fn new(settings: &Settings) -> Self {
        let first = Epoch::FIRST;
        Self {
            word: AtomicU64::new(Word::entering(first).bits()),
            ledger: Ledger::new(settings.trip, first),
            opened_at: AtomicU64::new(0),
            open_for: u64::try_from(settings.open_for.as_nanos()).unwrap_or(u64::MAX),
            probes: settings.probes,
            name: settings.name,
            turn: Mutex::new(first),
            outbox: Outbox::new(settings.sink.clone()),
        }
    }

    /// Returns the epoch, if it is one of the closed state: all there is to the admission of most calls.
    #[inline]
    pub(crate) fn closed(&self) -> Option<Epoch> {
        let epoch = self.word().epoch();
        epoch.is_closed().then_some(epoch)
    }

    /// Admits a call or refuses it. Reads the time in an open breaker only.
    pub(crate) fn admit(&self, mut now: impl FnMut() -> u64) -> Result<Epoch, Refused> {
        let mut word = self.word();
        loop {
            match word.state() {
                State::Closed | State::ForcedClosed | State::Disabled => return Ok(word.epoch()),
                State::ForcedOpen => return Err(Refused(None)),
                State::Open => {
                    let now = now();
                    if let Some(left) = self.time_left(now) {
                        return Err(Refused(Some(left)));
                    }
                    self.change(word.epoch(), State::HalfOpen, now);
                    word = self.word();
                }
                State::HalfOpen => {
                    let with_probe = word.with_probe(self.probes.get()).ok_or(Refused(None))?;
                    match self.exchange(word, with_probe) {
                        Ok(()) => return Ok(word.epoch()),
                        Err(seen) => word = seen,
                    }
                }
            }
        }
    }

    /// Says whether a call would be refused now, and changes nothing.
    pub(crate) fn shut(&self, now: impl FnOnce() -> u64) -> Option<Refused> {
        let word = self.word();
        match word.state() {
            State::Closed | State::ForcedClosed | State::Disabled => None,
            State::Open => self.time_left(now()).map(|left| Refused(Some(left))),
            State::HalfOpen if word.with_probe(self.probes.get()).is_some() => None,
            State::HalfOpen | State::ForcedOpen => Some(Refused(None)),
        }
    }

    /// Whether the success of a call that was admitted in `held` changes nothing: so it is with most calls.
    #[inline]
    pub(crate) fn is_spotless(&self, held: Epoch) -> bool {
        held.is_closed() && self.ledger.is_spotless(held)
    }

    /// Takes the result of an admitted call. Reads the time only if the breaker opens.
    pub(crate) fn finish(&self, held: Epoch, verdict: Verdict, now: impl FnOnce() -> u64) {
        match (held.state(), verdict) {
            (State::HalfOpen, Verdict::Failure) => self.change(held, State::Open, now()),
            (State::HalfOpen, verdict) => self.end_probe(held, verdict == Verdict::Success),
            (State::Closed | State::ForcedClosed, Verdict::Success | Verdict::Failure) => {
                let must_open = self.ledger.record(held, verdict == Verdict::Failure);
                if must_open && held.is_closed() {
                    self.change(held, State::Open, now());
                }
            }
            _ => {}
        }
    }

    /// Goes to the forced state `to` and stays there until [`release`](Self::release).
    pub(crate) fn force(&self, to: State) {
        self.take_turn(0, |here| (here.state() != to).then_some(to));
    }

    /// Ends a forced state: the breaker is closed, with an empty ledger.
    pub(crate) fn release(&self) {
        self.take_turn(0, |here| here.state().is_forced().then_some(State::Closed));
    }

    pub(crate) fn state(&self) -> State {
        self.word().state()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let word = self.word();
        let (results, failures) = self.ledger.counts(word.epoch());
        Snapshot {
            state: word.state(),
            results,
            failures,
            probes_in_flight: word.in_flight(),
            probes_succeeded: word.succeeded(),
        }
    }

    #[inline]
    fn word(&self) -> Word {
        // Acquire pairs with the Release of `take_turn`: who sees an epoch sees its opening time and its empty ledger.
        Word::of(self.word.load(Ordering::Acquire))
    }

    /// Takes a probe of epoch `held` out of flight, and closes the breaker with the last success that it takes.
    fn end_probe(&self, held: Epoch, succeeded: bool) {
        let mut word = self.word();
        while word.epoch() == held {
            let without_probe = word.without_probe(succeeded);
            match self.exchange(word, without_probe) {
                Ok(()) if without_probe.succeeded() == self.probes.get() => {
                    return self.change(held, State::Closed, 0);
                }
                Ok(()) => return,
                Err(seen) => word = seen,
            }
        }
    }

    /// Goes from one epoch to the next, unless the breaker has gone somewhere else by now.
    #[cold]
    fn change(&self, from: Epoch, to: State, now: u64) {
        self.take_turn(now, |here| (here == from).then_some(to));
    }

    /// Asks where to go from here, under the lock, goes there, and delivers the event after the lock is released.
    fn take_turn(&self, now: u64, choose: impl FnOnce(Epoch) -> Option<State>) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to) = choose(*turn) {
            let next = turn.followed_by(to);
            if to == State::Open {
                // A clock that steps back must not shorten the time: it goes on from the latest opening.
                self.opened_at.fetch_max(now, Ordering::Relaxed);
            }
            self.ledger.reset(next);
            // Release pairs with the Acquire of `word`. Probes that are counted at this moment fall away with their epoch.
            self.word
                .swap(Word::entering(next).bits(), Ordering::AcqRel);
            self.outbox.push(Event::CircuitChanged {
                name: self.name,
                from: turn.state().as_str(),
                to: to.as_str(),
            });
            *turn = next;
        }
        drop(turn);
        self.outbox.deliver();
    }

    /// Returns how long the open breaker stays so, or `None` if its time is over.
    fn time_left(&self, now: u64) -> Option<Duration> {
        let opened_at = self.opened_at.load(Ordering::Relaxed);
        let left = opened_at
            .saturating_add(self.open_for)
            .saturating_sub(now.max(opened_at));
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// Replaces the word, whose epoch stays: only the probes change.
    fn exchange(&self, from: Word, to: Word) -> Result<(), Word> {
        // AcqRel: the one that sees the last probe succeed, and closes the breaker, comes after all of them.
        self.word
            .compare_exchange(from.bits(), to.bits(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Word::of)
    }
}
