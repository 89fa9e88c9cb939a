use std::time::Duration;

use towerkit_core::Notified;

use super::Machine;
use crate::State;

/// A wait until a call may go ahead.
pub(crate) struct Hold {
    /// Resolves when the breaker has changed.
    pub(crate) changed: Notified,
    /// How long it would reject calls if it did not change; `None` where time alone changes nothing.
    pub(crate) time: Option<Duration>,
}

impl Machine {
    /// Returns a wait if services are to wait and a call would be rejected now.
    #[cold]
    #[inline(never)]
    pub(crate) fn hold(&self, now: impl Fn() -> u64) -> Option<Hold> {
        let waiting = self.waiting.as_ref()?;
        self.rejects(now())?;
        let changed = waiting.notified();
        // Again, so that a change between the two is not missed.
        let time = self.rejects(now())?;
        Some(Hold { changed, time })
    }

    /// Returns how long calls are rejected from now on, if they are and time changes that.
    fn rejects(&self, now: u64) -> Option<Option<Duration>> {
        let word = self.word();
        let rejects = match word.state() {
            State::Closed | State::ForcedClosed | State::Disabled => None,
            State::Open => self.time_left(now).map(Some),
            State::HalfOpen if self.has_place(word, now) => None,
            State::HalfOpen => Some(Some(self.time_until_overdue(now))),
            State::ForcedOpen => Some(None),
        };
        rejects.filter(|_| !self.is_observing())
    }
}
