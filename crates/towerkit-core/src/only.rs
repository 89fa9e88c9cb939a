use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{
    Admission, Backpressure, Bypass, Call, CallEnd, Headers, OperationSet, Policy, PolicyShape,
    Protocol, RunAsyncPolicy, RunPolicy,
};

/// A layer that applies to some operations only, made by [`LayerExt::only`](crate::LayerExt::only).
///
/// It works for guards, observers and drivers, around a service and inside a [`stack`](crate::stack).
///
/// # Readiness
///
/// The operation is not known before the call. Early rejections and backpressure of a guard are therefore ignored: the inner
/// service is polled, and the guard rejects in `call`.
#[derive(Debug, Clone)]
pub struct Only<L> {
    pub(crate) layer: L,
    pub(crate) operations: OperationSet,
}

impl<L> Only<L> {
    pub(crate) fn new(layer: L, operations: OperationSet) -> Self {
        Self { layer, operations }
    }
}

/// The service of an [`Only`]: sends each call through the middleware or around it.
///
/// Both ways lead to the same instance of the inner service, so that one readiness serves both.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct OnlyService<S, P> {
    pub(crate) service: S,
    pub(crate) protocol: P,
    pub(crate) operations: OperationSet,
}

impl<S, P, Req> Service<Req> for OnlyService<S, P>
where
    S: Bypass<Req>,
    P: Protocol<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready_for_bypass(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> S::Future {
        let kind = self.protocol.kind(&request);
        let operation = self.protocol.operation(&request, kind);
        if self.operations.contains(operation) {
            self.service.call(request)
        } else {
            self.service.bypass(request)
        }
    }
}

impl<S, P, Req> Bypass<Req> for OnlyService<S, P>
where
    S: Bypass<Req>,
    P: Protocol<Req>,
{
    #[inline(always)]
    fn bypass(&mut self, request: Req) -> S::Future {
        self.service.bypass(request)
    }
}

/// A policy that applies to some operations only.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct OnlyPolicy<R> {
    pub(crate) policy: R,
    pub(crate) operations: OperationSet,
}

impl<R> OnlyPolicy<R> {
    fn selects<Req>(&self, call: &Call<'_, Req>) -> bool {
        self.operations.contains(call.operation())
    }
}

impl<R: Policy> Policy for OnlyPolicy<R> {
    type CallState = Option<R::CallState>;
    const WRAPS_POLL: bool = R::WRAPS_POLL;
    const NEEDS_END: bool = R::NEEDS_END;

    #[inline(always)]
    fn wrap_poll<T>(&self, state: &mut Self::CallState, poll: impl FnOnce() -> T) -> T {
        match state {
            Some(state) => self.policy.wrap_poll(state, poll),
            None => poll(),
        }
    }

    #[inline(always)]
    fn on_response_head(&self, state: &mut Self::CallState, so_far: &CallEnd) {
        if let Some(state) = state {
            self.policy.on_response_head(state, so_far);
        }
    }

    #[inline(always)]
    fn add_response_headers(&self, state: &Self::CallState, headers: &mut dyn Headers) {
        if let Some(state) = state {
            self.policy.add_response_headers(state, headers);
        }
    }

    #[inline(always)]
    fn finish(&self, state: Self::CallState, end: &CallEnd) {
        if let Some(state) = state {
            self.policy.finish(state, end);
        }
    }
}

impl<R: PolicyShape> PolicyShape for OnlyPolicy<R> {
    type Rejection = R::Rejection;
    type MayWait = R::MayWait;
    type NeedsEnd = R::NeedsEnd;
}

impl<Req, R: RunPolicy<Req>> RunPolicy<Req> for OnlyPolicy<R> {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Self::Rejection> {
        if self.selects(call) {
            self.policy.start(call).map(Some)
        } else {
            Ok(None)
        }
    }

    #[inline(always)]
    fn early_rejection(&self) -> Option<Self::Rejection> {
        None
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        None
    }
}

impl<Req, R: RunAsyncPolicy<Req>> RunAsyncPolicy<Req> for OnlyPolicy<R> {
    type Wait = R::Wait;

    fn start(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Self::CallState, R::Wait>, Self::Rejection> {
        if !self.selects(call) {
            return Ok(Admission::Now(None));
        }
        Ok(self.policy.start(call)?.map(Some))
    }

    fn poll_wait(
        &self,
        wait: Pin<&mut R::Wait>,
        cx: &mut Context<'_>,
        call: &mut Call<'_, Req>,
    ) -> Poll<Result<Self::CallState, Self::Rejection>> {
        self.policy.poll_wait(wait, cx, call).map_ok(Some)
    }

    fn cancel_wait(&self, wait: Pin<&mut R::Wait>, end: &CallEnd) {
        self.policy.cancel_wait(wait, end);
    }

    fn early_rejection(&self) -> Option<Self::Rejection> {
        None
    }

    fn backpressure(&self) -> Option<Backpressure> {
        None
    }
}
