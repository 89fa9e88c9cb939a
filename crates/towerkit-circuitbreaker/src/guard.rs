use towerkit_core::{Call, End, Guard, Policy, Reason, Rejection};

use crate::{CircuitBreaker, machine::Refused, word::Admitted};

impl Policy for CircuitBreaker {
    type Held = Admitted;

    #[inline]
    fn finish(&self, held: Admitted, end: &End) {
        let shared = self.shared();
        let verdict = shared.settings.verdict(end);
        shared
            .machine
            .finish(held, verdict, || end.now(&shared.settings.clock));
    }
}

impl<Req> Guard<Req> for CircuitBreaker {
    #[inline]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Admitted, Rejection> {
        let shared = self.shared();
        shared
            .machine
            .admit(|| call.now(&shared.settings.clock))
            .map_err(|refused| self.rejection(refused))
    }

    #[inline]
    fn shut(&self) -> Option<Rejection> {
        let shared = self.shared();
        shared
            .machine
            .shut(|| shared.settings.clock.now())
            .map(|refused| self.rejection(refused))
    }
}

impl CircuitBreaker {
    fn rejection(&self, Refused(wait): Refused) -> Rejection {
        let rejection = Rejection::new(Reason::CircuitOpen, self.name());
        match wait {
            Some(wait) => rejection.retry_after(wait),
            None => rejection,
        }
    }
}
