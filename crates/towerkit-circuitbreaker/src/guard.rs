use towerkit_core::{Call, End, Guard, Policy, Rejection};

use crate::{CircuitBreaker, calls::Held};

impl Policy for CircuitBreaker {
    type Held = Held;

    #[inline(always)]
    fn finish(&self, held: Held, end: &End) {
        self.calls().finish(held, end);
    }
}

impl<Req> Guard<Req> for CircuitBreaker {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Held, Rejection> {
        self.calls().admit(call)
    }

    #[inline(always)]
    fn shut(&self) -> Option<Rejection> {
        self.calls().shut()
    }
}
