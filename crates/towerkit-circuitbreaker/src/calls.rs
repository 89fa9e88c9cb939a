use std::num::NonZeroU64;

use towerkit_core::{Call, End, Outcome, Reason, Rejection};

use crate::{
    epoch::Epoch,
    machine::{Machine, Refused},
    mark::Mark,
    settings::Settings,
};

/// What a call holds while it lasts: the epoch that admitted it and, where calls are timed, when it started.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    epoch: Epoch,
    started: Option<NonZeroU64>,
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
        let started = if self.machine.times_calls() {
            NonZeroU64::new(call.now(&self.settings.clock).max(1))
        } else {
            None
        };
        Ok(Held { epoch, started })
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

    /// Gives back what a call holds that was not made.
    #[cold]
    pub(crate) fn give_back(self, held: Held) {
        let end = End::cancelled();
        let mark = Mark::new(crate::Verdict::Ignored, &end, false);
        self.machine
            .finish(held.epoch, mark, || self.settings.clock.now());
    }

    #[cold]
    fn admit_unless_open(self, now: &mut dyn FnMut() -> u64) -> Result<Epoch, Rejection> {
        self.machine
            .admit(now)
            .map_err(|refused| self.rejection(refused))
    }

    #[cold]
    fn shut_if_open(self) -> Option<Rejection> {
        self.machine
            .shut(|| self.settings.clock.now())
            .map(|refused| self.rejection(refused))
    }

    #[inline(never)]
    fn count(self, held: Held, end: &End) {
        let verdict = self.settings.verdict(end);
        let now = || end.now(&self.settings.clock);
        let too_long = held
            .started
            .is_some_and(|started| now().saturating_sub(started.get()) > self.machine.slow_after());
        let mark = Mark::new(verdict, end, too_long);
        self.machine.finish(held.epoch, mark, now);
    }

    fn rejection(self, Refused(wait): Refused) -> Rejection {
        let rejection = Rejection::new(Reason::CircuitOpen, self.settings.name);
        match wait {
            Some(wait) => rejection.retry_after(wait),
            None => rejection,
        }
    }
}
