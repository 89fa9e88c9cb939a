use towerkit_core::{Call, End, Outcome, Reason, Rejection};

use crate::{
    State, Verdict,
    epoch::Epoch,
    in_flight::InFlight,
    machine::{Machine, Refused},
    mark::Mark,
    settings::Settings,
};

/// What a call holds while it lasts: the epoch that admitted it and, where calls are timed, when it started.
#[derive(Debug, Clone, Copy)]
pub struct Held {
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
    /// When it ends, unless it has hung before.
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
    pub(crate) fn admit<Req>(self, call: &mut Call<'_, Req>) -> Result<Held, Rejection> {
        let epoch = match self.machine.closed() {
            Some(epoch) => epoch,
            None => self.admit_unless_open(&mut || call.now(&self.settings.clock))?,
        };
        if !self.machine.times_calls() {
            return Ok(Held {
                started: 0,
                epoch,
                timing: Timing::Off,
            });
        }
        if self.machine.in_flight().is_some() {
            return self.admit_in_flight(epoch, &mut || call.now(&self.settings.clock));
        }
        Ok(Held {
            started: call.now(&self.settings.clock),
            epoch,
            timing: Timing::AtEnd,
        })
    }

    /// Takes note of the head of a response, up to which calls may be measured.
    #[inline(always)]
    pub(crate) fn head(self, held: &mut Held, so_far: &End) {
        if matches!(held.timing, Timing::AtEnd | Timing::InFlight) {
            self.head_of_timed(held, so_far);
        }
    }

    #[inline(always)]
    pub(crate) fn finish(self, held: Held, end: &End) {
        let is_spotless =
            || self.settings.verdict.is_none() && self.machine.is_spotless(held.epoch);
        if end.outcome() == Outcome::Success && is_spotless() {
            return;
        }
        self.count(held, end);
    }

    #[inline(always)]
    pub(crate) fn shut(self) -> Option<Rejection> {
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
    pub(crate) fn give_back(self, held: Held) {
        self.leave(held);
        let end = End::cancelled();
        let mark = Mark::new(Verdict::Ignored, &end, false);
        self.machine
            .finish(held.epoch, mark, || self.settings.clock.now());
    }

    /// Counts the calls that hang, and puts a call of `epoch` in flight unless that opened the breaker.
    #[inline(never)]
    fn admit_in_flight(
        self,
        mut epoch: Epoch,
        now: &mut dyn FnMut() -> u64,
    ) -> Result<Held, Rejection> {
        let started = now();
        self.look_for_hanging(|| started);
        if epoch.counts() && !self.machine.is_in(epoch) {
            epoch = self.admit_unless_open(now)?;
        }
        let timing = match self.machine.in_flight() {
            Some(in_flight) if epoch.counts() => {
                let (has_place, hung) = in_flight.enter(epoch, started);
                self.machine.count_hanging(epoch, hung, started);
                if has_place {
                    Timing::InFlight
                } else {
                    Timing::AtEnd
                }
            }
            _ => Timing::AtEnd,
        };
        Ok(Held {
            started,
            epoch,
            timing,
        })
    }

    #[cold]
    fn admit_unless_open(self, now: &mut dyn FnMut() -> u64) -> Result<Epoch, Rejection> {
        self.look_for_hanging(&mut *now);
        self.machine
            .admit(now)
            .map_err(|refused| self.rejection(refused))
    }

    #[cold]
    fn shut_if_open(self) -> Option<Rejection> {
        let now = || self.settings.clock.now();
        self.look_for_hanging(now);
        self.machine
            .shut(now)
            .map(|refused| self.rejection(refused))
    }

    /// A refusal further in has a head as well, and is judged at its end.
    #[inline(never)]
    fn head_of_timed(self, held: &mut Held, so_far: &End) {
        if self.machine.times_to_head() && so_far.refused().is_none() {
            let slow = self.is_too_long(*held, so_far);
            held.timing = if self.leave(*held) {
                Timing::Known { slow }
            } else {
                Timing::Hung
            };
        }
    }

    #[inline(never)]
    fn count(self, held: Held, end: &End) {
        let verdict = self.settings.verdict(end);
        let now = || end.now(&self.settings.clock);
        let is_hung = held.timing == Timing::Hung || !self.leave(held);
        let too_long = match held.timing {
            Timing::Off => false,
            Timing::Known { slow } => slow,
            Timing::Hung => true,
            Timing::AtEnd | Timing::InFlight => self.is_too_long(held, end),
        };
        let mark = Mark::new(verdict, end, too_long);
        let mark = if is_hung { mark.of_hung() } else { mark };
        self.machine.finish(held.epoch, mark, now);
        self.look_for_hanging(now);
    }

    fn is_too_long(self, held: Held, end: &End) -> bool {
        let took = end.now(&self.settings.clock).saturating_sub(held.started);
        took > self.machine.slow_after()
    }

    /// Takes a call out of flight. Returns false if it was counted as one that hangs.
    ///
    /// A probe that hung has opened the breaker and counts no more, so that it is judged like any other.
    fn leave(self, held: Held) -> bool {
        let leave = |in_flight: &InFlight| in_flight.leave(held.epoch, held.started);
        held.timing != Timing::InFlight
            || self.machine.in_flight().is_none_or(leave)
            || held.epoch.state() == State::HalfOpen
    }

    fn rejection(self, Refused(wait): Refused) -> Rejection {
        let rejection = Rejection::new(Reason::CircuitOpen, self.settings.name);
        match wait {
            Some(wait) => rejection.retry_after(wait),
            None => rejection,
        }
    }
}
