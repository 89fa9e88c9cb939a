use towerkit_core::{Call, CallEnd, Outcome, Rejection, RejectionReason};

use crate::{
    CountAs, State,
    epoch::Epoch,
    in_flight::InFlight,
    machine::{Machine, Rejected},
    mark::Mark,
    settings::Settings,
};

/// What a call holds while it lasts: the epoch that admitted it and, where calls are timed, when it started.
#[derive(Debug, Clone, Copy)]
pub struct CallState {
    started: u64,
    epoch: Epoch,
    timing: Timing,
}

/// How it is found out whether a call is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timing {
    /// Not at all.
    Off,
    /// When it ends.
    AtEnd,
    /// At its head, or when it ends without one.
    AtHead,
    /// At its head if that counts, or when it ends, unless it has hung before.
    InFlight,
    /// It was found out at its head.
    Known { slow: bool },
    /// It has hung, and was counted.
    Hung,
}

/// A state machine and what it needs among calls: a clock, a verdict, a name.
#[derive(Clone, Copy)]
pub(crate) struct Calls<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) settings: &'a Settings,
}

impl Calls<'_> {
    #[inline(always)]
    pub(crate) fn admit<Req>(self, call: &mut Call<'_, Req>) -> Result<CallState, Rejection> {
        let epoch = match self.machine.closed() {
            Some(epoch) => epoch,
            None => self.admit_unless_open(&mut || call.now(&self.settings.clock))?,
        };
        if !self.machine.times_calls() {
            return Ok(CallState {
                started: 0,
                epoch,
                timing: Timing::Off,
            });
        }
        if self.machine.watches_calls() {
            return self.admit_watched(epoch, &mut || call.now(&self.settings.clock));
        }
        Ok(CallState {
            started: call.now(&self.settings.clock),
            epoch,
            timing: Timing::AtEnd,
        })
    }

    /// Takes note of the head of a response, up to which calls may be measured.
    #[inline(always)]
    pub(crate) fn head(self, held: &mut CallState, so_far: &CallEnd) {
        if matches!(held.timing, Timing::AtHead | Timing::InFlight) {
            self.head_of_watched(held, so_far);
        }
    }

    #[inline(always)]
    pub(crate) fn finish(self, held: CallState, end: &CallEnd) {
        let is_spotless =
            || self.settings.verdict.is_none() && self.machine.is_spotless(held.epoch);
        if end.outcome() == Outcome::Success && is_spotless() {
            return;
        }
        self.count(held, end);
    }

    #[inline(always)]
    pub(crate) fn early_rejection(self) -> Option<Rejection> {
        match self.machine.closed() {
            Some(_) => None,
            None => self.shut_if_open(),
        }
    }

    /// Counts the calls that hang.
    #[inline]
    pub(crate) fn look_for_hanging(self, now: impl FnOnce() -> u64) {
        if let Some(in_flight) = self.machine.in_flight() {
            let now = now();
            if in_flight.is_due(now) {
                let count = |epoch, calls| self.machine.count_hanging(epoch, calls, now);
                in_flight.expire(now, count);
            }
        }
    }

    /// Gives back what a call holds that was not made.
    #[cold]
    pub(crate) fn give_back(self, held: CallState) {
        self.leave(held);
        let end = CallEnd::cancelled();
        let mark = Mark::new(CountAs::Ignored, &end, false);
        self.machine
            .finish_at(held.epoch, mark, self.settings.clock.now());
    }

    /// Admits a call of which more is asked than how long it ran in the end, unless calls that hang have just ended `epoch`.
    #[inline(never)]
    fn admit_watched(
        self,
        mut epoch: Epoch,
        now: &mut dyn FnMut() -> u64,
    ) -> Result<CallState, Rejection> {
        let started = now();
        self.look_for_hanging(|| started);
        if epoch.counts() && !self.machine.is_in(epoch) {
            epoch = self.admit_unless_open(now)?;
        }
        let is_in_flight = epoch.counts() && self.enter(epoch, started);
        let timing = match self.machine.times_to_head() {
            _ if is_in_flight => Timing::InFlight,
            true => Timing::AtHead,
            false => Timing::AtEnd,
        };
        Ok(CallState {
            started,
            epoch,
            timing,
        })
    }

    /// Puts a call in flight, if calls are to be counted while they hang and there is a place for it.
    fn enter(self, epoch: Epoch, started: u64) -> bool {
        let Some(in_flight) = self.machine.in_flight() else {
            return false;
        };
        let (has_place, hung) = in_flight.enter(epoch, started);
        self.machine.count_hanging(epoch, hung, started);
        has_place
    }

    #[cold]
    fn admit_unless_open(self, now: &mut dyn FnMut() -> u64) -> Result<Epoch, Rejection> {
        self.look_for_hanging(&mut *now);
        self.machine
            .admit(now)
            .map_err(|rejected| self.rejection(rejected))
    }

    #[cold]
    fn shut_if_open(self) -> Option<Rejection> {
        let now = || self.settings.clock.now();
        self.look_for_hanging(now);
        self.machine
            .early_rejection(now)
            .map(|rejected| self.rejection(rejected))
    }

    /// A rejection further in has a head as well, and is judged at its end.
    #[inline(never)]
    fn head_of_watched(self, held: &mut CallState, so_far: &CallEnd) {
        if self.machine.times_to_head() && so_far.rejection_reason().is_none() {
            let slow = self.is_too_long(*held, so_far);
            held.timing = if self.leave(*held) {
                Timing::Known { slow }
            } else {
                Timing::Hung
            };
        }
    }

    #[inline(never)]
    fn count(self, held: CallState, end: &CallEnd) {
        let too_long = match held.timing {
            Timing::Off => false,
            Timing::AtEnd => self.is_too_long(held, end),
            _ => return self.count_watched(held, end),
        };
        let mark = Mark::new(self.settings.verdict(end), end, too_long);
        let now = || end.now(&self.settings.clock);
        self.machine.finish(held.epoch, mark, now);
    }

    #[inline(never)]
    fn count_watched(self, held: CallState, end: &CallEnd) {
        let is_hung = held.timing == Timing::Hung || !self.leave(held);
        let too_long = match held.timing {
            Timing::Known { slow } => slow,
            Timing::Hung => true,
            _ => self.is_too_long(held, end),
        };
        let mark = Mark::new(self.settings.verdict(end), end, too_long);
        let mark = if is_hung { mark.of_hung() } else { mark };
        let now = end.now(&self.settings.clock);
        self.machine.finish_at(held.epoch, mark, now);
        self.look_for_hanging(|| now);
    }

    fn is_too_long(self, held: CallState, end: &CallEnd) -> bool {
        let took = end.now(&self.settings.clock).saturating_sub(held.started);
        took > self.machine.slow_after()
    }

    /// Takes a call out of flight. Returns false if it was counted as one that hangs.
    ///
    /// A probe that hung has opened the breaker and counts no more, so that it is judged like any other.
    fn leave(self, held: CallState) -> bool {
        let leave = |in_flight: &InFlight| in_flight.leave(held.epoch, held.started);
        held.timing != Timing::InFlight
            || self.machine.in_flight().is_none_or(leave)
            || held.epoch.state() == State::HalfOpen
    }

    fn rejection(self, Rejected(wait): Rejected) -> Rejection {
        let rejection = Rejection::new(RejectionReason::CircuitOpen, self.settings.name);
        match wait {
            Some(wait) => rejection.with_retry_after(wait),
            None => rejection,
        }
    }
}
