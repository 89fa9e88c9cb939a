//! An `Arc` of a policy is a policy.

use std::sync::Arc;

use crate::{
    Admission, AsyncGuard, Backpressure, Call, CallEnd, Guard, Headers, Observer, Policy, Rejection,
};

impl<T: Policy> Policy for Arc<T> {
    type CallState = T::CallState;
    const WRAPS_POLL: bool = T::WRAPS_POLL;
    const NEEDS_END: bool = T::NEEDS_END;

    #[inline(always)]
    fn wrap_poll<R>(&self, state: &mut Self::CallState, poll: impl FnOnce() -> R) -> R {
        (**self).wrap_poll(state, poll)
    }

    #[inline(always)]
    fn on_response_head(&self, state: &mut Self::CallState, so_far: &CallEnd) {
        (**self).on_response_head(state, so_far);
    }

    #[inline(always)]
    fn add_response_headers(&self, state: &Self::CallState, headers: &mut dyn Headers) {
        (**self).add_response_headers(state, headers);
    }

    #[inline(always)]
    fn finish(&self, state: Self::CallState, end: &CallEnd) {
        (**self).finish(state, end);
    }
}

impl<Req, G: Guard<Req>> Guard<Req> for Arc<G> {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Rejection> {
        (**self).admit(call)
    }

    #[inline(always)]
    fn early_rejection(&self) -> Option<Rejection> {
        (**self).early_rejection()
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
    ) -> Result<Admission<Self::CallState, Self::Wait>, Rejection> {
        (**self).admit(call)
    }

    fn on_admitted(&self, state: &mut Self::CallState, call: &mut Call<'_, Req>) {
        (**self).on_admitted(state, call);
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        (**self).backpressure()
    }
}

impl<Req, O: Observer<Req>> Observer<Req> for Arc<O> {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> Self::CallState {
        (**self).start(call)
    }
}
