use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;
use towerkit_core::{DrainResponse, InspectResult, ReplayRequest};

use crate::pending_fallback::PendingFallback;

/// The future of a [`FallbackService`](crate::FallbackService).
#[pin_project]
pub struct FallbackServiceFuture<S, O, P, Req>
where
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
    S: Service<Req>,
    O: Service<Req>,
{
    #[pin]
    phase: Phase<S::Future, O, O::Future, Req>,
    /// The response that failed, while the other service answers.
    #[pin]
    unwanted: Option<<P::Exchange as DrainResponse<S::Response>>::Drain>,
    exchange: P::Exchange,
    /// `None` for a call without a fallback.
    pending_fallback: Option<PendingFallback<O, P, Req>>,
}

#[pin_project(project = PhaseProj)]
enum Phase<F, O, G, Q> {
    Trying(#[pin] F),
    Tried,
    Readying(O, Option<Q>),
    Answering(#[pin] G),
}

impl<S, O, P, Req> FallbackServiceFuture<S, O, P, Req>
where
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
    S: Service<Req>,
    O: Service<Req>,
{
    pub(crate) fn new(
        inner: S::Future,
        exchange: P::Exchange,
        pending_fallback: Option<PendingFallback<O, P, Req>>,
    ) -> Self {
        Self {
            phase: Phase::Trying(inner),
            unwanted: None,
            exchange,
            pending_fallback,
        }
    }
}

impl<S, O, P, Req> Future for FallbackServiceFuture<S, O, P, Req>
where
    P: ReplayRequest<Req>,
    S: Service<Req>,
    O: Service<Req, Response = S::Response, Error = S::Error>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.as_mut().poll_call(cx);
        let mut me = self.project();
        let is_discarded = match me.unwanted.as_mut().as_pin_mut() {
            Some(unwanted) => polled.is_ready() || unwanted.poll(cx).is_ready(),
            None => false,
        };
        if is_discarded {
            me.unwanted.set(None);
        }
        polled
    }
}

impl<S, O, P, Req> FallbackServiceFuture<S, O, P, Req>
where
    P: ReplayRequest<Req>,
    S: Service<Req>,
    O: Service<Req, Response = S::Response, Error = S::Error>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
{
    fn poll_call(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        let mut me = self.project();
        loop {
            let response = match me.phase.as_mut().project() {
                PhaseProj::Trying(inner) => {
                    let result = ready!(inner.poll(cx));
                    // The inner future lets go of its request before there is a second.
                    me.phase.set(Phase::Tried);
                    let Some(pending_fallback) = me.pending_fallback else {
                        return Poll::Ready(result);
                    };
                    let end = me.exchange.inspect(&result);
                    if !pending_fallback.falls_back(&end) {
                        return Poll::Ready(result);
                    }
                    let Some((fallback_service, attempt)) = pending_fallback.fall_back(&end) else {
                        return Poll::Ready(result);
                    };
                    let unwanted = result.ok().map(|failed| me.exchange.drain(failed));
                    me.unwanted.set(unwanted);
                    me.phase
                        .set(Phase::Readying(fallback_service, Some(attempt)));
                    continue;
                }
                PhaseProj::Readying(fallback_service, attempt) => {
                    match ready!(fallback_service.poll_ready(cx)) {
                        Ok(()) => {
                            let response =
                                fallback_service.call(attempt.take().expect("called once"));
                            me.phase.set(Phase::Answering(response));
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
                PhaseProj::Answering(response) => ready!(response.poll(cx)),
                PhaseProj::Tried => panic!("polled after completion"),
            };
            let pending_fallback = me.pending_fallback.as_ref().expect("there was one");
            return Poll::Ready(pending_fallback.conclude(me.exchange, response));
        }
    }
}

impl<S, O, P, Req> fmt::Debug for FallbackServiceFuture<S, O, P, Req>
where
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
    S: Service<Req>,
    O: Service<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackServiceFuture")
            .finish_non_exhaustive()
    }
}
