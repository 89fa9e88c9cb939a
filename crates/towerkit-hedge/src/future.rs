use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tokio::time::Sleep;
use tower_service::Service;
use towerkit_core::{DrainResponse, InspectResult, ReplayRequest};

use crate::hedging::Hedging;

/// The future of a [`Hedge`](crate::Hedge).
#[pin_project]
pub struct HedgeFuture<S, P, Req>
where
    S: Service<Req>,
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
{
    /// The first attempt, until it ends.
    #[pin]
    first: Option<S::Future>,
    #[pin]
    timer: Option<Sleep>,
    /// [`None`] if the call cannot be hedged.
    hedging: Option<Hedging<S, P, Req>>,
}

impl<S, P, Req> HedgeFuture<S, P, Req>
where
    S: Service<Req>,
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
{
    #[inline(always)]
    pub(crate) fn new(first: S::Future, hedging: Option<Hedging<S, P, Req>>) -> Self {
        Self {
            first: Some(first),
            timer: None,
            hedging,
        }
    }
}

/// The result of the first attempt, with true if it is the result of the call.
type FirstResult<T, E> = (bool, Result<T, E>);

impl<S, P, Req> Future for HedgeFuture<S, P, Req>
where
    P: ReplayRequest<Req>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
    S: Service<Req> + Clone,
{
    type Output = Result<S::Response, S::Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.as_mut().project();
        let Some(hedging) = me.hedging else {
            let first = me.first.as_pin_mut();
            return first.expect("not polled after completion").poll(cx);
        };
        if hedging.begins_with_hedges() {
            return self.poll_hedges_first(cx);
        }
        let failed = match self.as_mut().poll_first(cx) {
            Poll::Ready((true, result)) => return Poll::Ready(result),
            Poll::Ready((false, result)) => Some(result),
            Poll::Pending => None,
        };
        self.poll_hedges(failed, cx)
    }
}

impl<S, P, Req> HedgeFuture<S, P, Req>
where
    P: ReplayRequest<Req>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
    S: Service<Req> + Clone,
{
    /// Polls the first attempt, or is pending if it has ended.
    #[inline(always)]
    fn poll_first(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<FirstResult<S::Response, S::Error>> {
        let mut me = self.project();
        let (Some(first), Some(hedging)) = (me.first.as_mut().as_pin_mut(), &mut *me.hedging)
        else {
            return Poll::Pending;
        };
        let result = ready!(hedging.poll_attempt(|| first.poll(cx)));
        me.first.set(None);
        me.timer.set(None);
        let ends_call = hedging.on_first_result(&result);
        if ends_call {
            *me.hedging = None;
        }
        Poll::Ready((ends_call, result))
    }

    /// Polls the hedges, with the result of an attempt that has just failed.
    #[inline(never)]
    fn poll_hedges(
        self: Pin<&mut Self>,
        failed: Option<Result<S::Response, S::Error>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        let mut me = self.project();
        let hedging = me
            .hedging
            .as_mut()
            .expect("only a hedgeable call polls hedges");
        let result = hedging.poll_hedges(me.timer, me.first.is_some(), failed, cx);
        if result.is_ready() {
            // The losing attempts are dropped before the result is returned.
            me.first.set(None);
            *me.hedging = None;
        }
        result
    }

    #[cold]
    fn poll_hedges_first(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        let result = self.as_mut().poll_hedges(None, cx);
        if result.is_ready() {
            return result;
        }
        match ready!(self.as_mut().poll_first(cx)) {
            (true, result) => Poll::Ready(result),
            (false, result) => self.poll_hedges(Some(result), cx),
        }
    }
}

impl<S, P, Req> fmt::Debug for HedgeFuture<S, P, Req>
where
    S: Service<Req>,
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeFuture")
            .field("may_hedge", &self.hedging.is_some())
            .finish_non_exhaustive()
    }
}
