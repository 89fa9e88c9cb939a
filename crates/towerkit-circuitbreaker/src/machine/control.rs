use super::{CircuitBreakerOptions, Machine};
use crate::{CircuitBreakerSnapshot, Mode, State, sync::Ordering};

/// What a handle does with a breaker.
impl Machine {
    pub(crate) fn snapshot(&self, now: u64) -> CircuitBreakerSnapshot {
        let turn = self.lock();
        let word = self.word();
        let results = self.ledger.results(word.epoch(), now);
        CircuitBreakerSnapshot {
            state: word.state(),
            mode: turn.mode,
            results: results.all,
            failures: results.failed,
            slow: results.slow,
            probes_in_flight: word.in_flight(),
            probes_succeeded: word.succeeded(),
            let_through: self.let_through.load(Ordering::Relaxed),
        }
    }

    /// Returns the options.
    pub(crate) fn options(&self) -> CircuitBreakerOptions {
        self.lock().options
    }

    /// Changes the options. What is counted stays if it is counted like that again; otherwise counting starts anew.
    pub(crate) fn update(&self, options: CircuitBreakerOptions) {
        let mut turn = self.lock();
        if !turn.options.open_when.counts_like(&options.open_when) {
            let here = turn.epoch;
            if matches!(here.state(), State::Closed | State::ForcedClosed) {
                turn.epoch = here.followed_by(here.state());
                self.ledger.reset(turn.epoch);
            }
            self.ledger.reshape(&options.open_when, turn.epoch);
            if turn.epoch != here {
                self.publish(turn.epoch);
            }
        }
        turn.options = options;
        turn.revision = self.ledger.adopt(&options.open_when);
        self.probes
            .store(options.probes.get().into(), Ordering::Relaxed);
        self.probe_timeout
            .store(options.probe_timeout, Ordering::Relaxed);
        drop(turn);
        // There may be more places for probes, or they may be free sooner.
        self.wake();
    }

    /// Changes the mode, and says nothing of it until [`deliver`](Self::deliver).
    pub(crate) fn switch(&self, mode: Mode) {
        let mut turn = self.lock();
        if turn.mode == mode {
            return;
        }
        turn.mode = mode;
        self.observing
            .store((mode == Mode::Observing).into(), Ordering::Relaxed);
        let to = match mode {
            Mode::ForcedOpen => State::ForcedOpen,
            Mode::ForcedClosed => State::ForcedClosed,
            Mode::Disabled => State::Disabled,
            Mode::Observing if !turn.epoch.state().is_forced() => return,
            Mode::Automatic | Mode::Observing => State::Closed,
        };
        turn.schedule.reset();
        self.enter(&mut turn, to, 0);
    }

    /// Makes the breaker one that has never seen a call, if that changes nothing for the next one.
    ///
    /// So it is if the breaker stands as one does that has just been switched to `mode`, and remembers nothing bad at `now`.
    pub(crate) fn retire(&self, mode: Mode, now: u64) -> bool {
        let mut turn = self.lock();
        let here = turn.epoch;
        let is_idle = match here.state() {
            State::Closed => self.ledger.is_unmarked(here, now) && turn.is_fresh(now),
            state => state.is_forced(),
        };
        let retires = is_idle && turn.mode == mode;
        if retires {
            turn.schedule.reset();
            self.let_through.store(0, Ordering::Relaxed);
            self.enter(&mut turn, here.state(), now);
        }
        retires
    }
}
