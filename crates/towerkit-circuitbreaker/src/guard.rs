use towerkit_core::{Call, End, Guard, Outcome, Policy, Reason, Rejection};

use crate::{CircuitBreaker, epoch::Epoch, machine::Refused};

impl Policy for CircuitBreaker {
    type Held = Epoch;

    #[inline]
    fn finish(&self, held: Epoch, end: &End) {
        if end.outcome() == Outcome::Success && self.shared().is_spotless(held) {
            return;
        }
        self.count(held, end);
    }
}

impl<Req> Guard<Req> for CircuitBreaker {
    #[inline]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Epoch, Rejection> {
        match self.shared().machine.closed() {
            Some(epoch) => Ok(epoch),
            None => self.admit_unless_open(&mut || call.now(&self.shared().settings.clock)),
        }
    }

    #[inline]
    fn shut(&self) -> Option<Rejection> {
        match self.shared().machine.closed() {
            Some(_) => None,
            None => self.shut_if_open(),
        }
    }
}

/// What seldom happens stands here, out of line, so that the code around every call stays small.
impl CircuitBreaker {
    #[cold]
    fn admit_unless_open(&self, now: &mut dyn FnMut() -> u64) -> Result<Epoch, Rejection> {
        self.shared()
            .machine
            .admit(now)
            .map_err(|refused| self.rejection(refused))
    }

    #[cold]
    fn shut_if_open(&self) -> Option<Rejection> {
        let shared = self.shared();
        shared
            .machine
            .shut(|| shared.settings.clock.now())
            .map(|refused| self.rejection(refused))
    }

    #[inline(never)]
    fn count(&self, held: Epoch, end: &End) {
        let shared = self.shared();
        let verdict = shared.settings.verdict(end);
        shared
            .machine
            .finish(held, verdict, || end.now(&shared.settings.clock));
    }

    fn rejection(&self, Refused(wait): Refused) -> Rejection {
        let rejection = Rejection::new(Reason::CircuitOpen, self.name());
        match wait {
            Some(wait) => rejection.retry_after(wait),
            None => rejection,
        }
    }
}
