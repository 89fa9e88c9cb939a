//! An `Arc` of a policy is a policy.

use std::sync::Arc;

use crate::{
    Admission, AsyncGuard, Backpressure, Call, End, Fields, Guard, Observer, Policy, Rejection,
};

impl<T: Policy> Policy for Arc<T> {
    type Held = T::Held;
    const ENTERS: bool = T::ENTERS;
    const FOLLOWS: bool = T::FOLLOWS;

    #[inline(always)]
    fn enter<R>(&self, held: &mut Self::Held, poll: impl FnOnce() -> R) -> R {
        (**self).enter(held, poll)
    }

    #[inline(always)]
    fn head(&self, held: &mut Self::Held, so_far: &End) {
        (**self).head(held, so_far);
    }

    #[inline(always)]
    fn annotate(&self, held: &Self::Held, fields: &mut dyn Fields) {
        (**self).annotate(held, fields);
    }

    #[inline(always)]
    fn finish(&self, held: Self::Held, end: &End) {
        (**self).finish(held, end);
    }
}

impl<Req, G: Guard<Req>> Guard<Req> for Arc<G> {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Self::Held, Rejection> {
        (**self).admit(call)
    }

    #[inline(always)]
    fn shut(&self) -> Option<Rejection> {
        (**self).shut()
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        (**self).backpressure()
    }
}

impl<Req, G: AsyncGuard<Req>> AsyncGuard<Req> for Arc<G> {
    type Wait = G::Wait;

    fn admit(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Self::Held, Self::Wait>, Rejection> {
        (**self).admit(call)
    }

    fn stamp(&self, held: &mut Self::Held, call: &mut Call<'_, Req>) {
        (**self).stamp(held, call);
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        (**self).backpressure()
    }
}

impl<Req, O: Observer<Req>> Observer<Req> for Arc<O> {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> Self::Held {
        (**self).start(call)
    }
}
