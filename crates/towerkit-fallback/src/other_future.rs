use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;
use towerkit_core::{DrainResponse, InspectResult, ReplayRequest};

use crate::plan::Plan;

/// The future of a [`FallbackTo`](crate::FallbackTo).
#[pin_project]
pub struct FallbackToFuture<S, O, P, Req>
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
    /// `None` for a call that keeps its answer, whatever it is.
    plan: Option<Plan<O, P, Req>>,
}

#[pin_project(project = PhaseProj)]
enum Phase<F, O, G, Q> {
    Trying(#[pin] F),
    Tried,
    Readying(O, Option<Q>),
    Answering(#[pin] G),
}

impl<S, O, P, Req> FallbackToFuture<S, O, P, Req>
where
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
    S: Service<Req>,
    O: Service<Req>,
{
    pub(crate) fn new(
        inner: S::Future,
        exchange: P::Exchange,
        plan: Option<Plan<O, P, Req>>,
    ) -> Self {
        Self {
            phase: Phase::Trying(inner),
            unwanted: None,
            exchange,
            plan,
        }
    }
}

impl<S, O, P, Req> Future for FallbackToFuture<S, O, P, Req>
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

impl<S, O, P, Req> FallbackToFuture<S, O, P, Req>
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
            let answer = match me.phase.as_mut().project() {
                PhaseProj::Trying(inner) => {
                    let result = ready!(inner.poll(cx));
                    // The inner future lets go of its request before there is a second.
                    me.phase.set(Phase::Tried);
                    let Some(plan) = me.plan else {
                        return Poll::Ready(result);
                    };
                    let end = me.exchange.inspect(&result);
                    if !plan.chooses(&end) {
                        return Poll::Ready(result);
                    }
                    let Some((other, attempt)) = plan.fall_back(&end) else {
                        return Poll::Ready(result);
                    };
                    let unwanted = result.ok().map(|failed| me.exchange.drain(failed));
                    me.unwanted.set(unwanted);
                    me.phase.set(Phase::Readying(other, Some(attempt)));
                    continue;
                }
                PhaseProj::Readying(other, attempt) => match ready!(other.poll_ready(cx)) {
                    Ok(()) => {
                        let answer = other.call(attempt.take().expect("called once"));
                        me.phase.set(Phase::Answering(answer));
                        continue;
                    }
                    Err(error) => Err(error),
                },
                PhaseProj::Answering(answer) => ready!(answer.poll(cx)),
                PhaseProj::Tried => panic!("polled after completion"),
            };
            let plan = me.plan.as_ref().expect("there was one");
            return Poll::Ready(plan.conclude(me.exchange, answer));
        }
    }
}

impl<S, O, P, Req> fmt::Debug for FallbackToFuture<S, O, P, Req>
where
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
    S: Service<Req>,
    O: Service<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackToFuture").finish_non_exhaustive()
    }
}
