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
    /// The first attempt, until it has ended.
    #[pin]
    first: Option<S::Future>,
    #[pin]
    timer: Option<Sleep>,
    /// `None` if the call is never hedged.
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

/// The result of the first attempt, and whether it is that of the call.
type Ended<T, E> = (bool, Result<T, E>);

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
        if hedging.is_first_last() {
            return self.poll_hedges_first(cx);
        }
        let failed = match self.as_mut().poll_first(cx) {
            Poll::Ready((true, result)) => return Poll::Ready(result),
            Poll::Ready((false, result)) => Some(result),
            Poll::Pending => None,
        };
        self.race(failed, cx)
    }
}

impl<S, P, Req> HedgeFuture<S, P, Req>
where
    P: ReplayRequest<Req>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
    S: Service<Req> + Clone,
{
    /// Polls the first attempt, unless it has ended.
    #[inline(always)]
    fn poll_first(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Ended<S::Response, S::Error>> {
        let mut me = self.project();
        let (Some(first), Some(hedging)) = (me.first.as_mut().as_pin_mut(), &mut *me.hedging)
        else {
            return Poll::Pending;
        };
        let result = ready!(first.poll(cx));
        me.first.set(None);
        me.timer.set(None);
        let is_the_result = hedging.first_ended(&result);
        if is_the_result {
            *me.hedging = None;
        }
        Poll::Ready((is_the_result, result))
    }

    /// Polls the hedges, with the result of an attempt that has just failed.
    #[inline(never)]
    fn race(
        self: Pin<&mut Self>,
        failed: Option<Result<S::Response, S::Error>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        let mut me = self.project();
        let hedging = me.hedging.as_mut().expect("only such a call races");
        let raced = hedging.race(me.timer, me.first.is_some(), failed, cx);
        if raced.is_ready() {
            // Before anyone learns who won.
            me.first.set(None);
            *me.hedging = None;
        }
        raced
    }

    #[cold]
    fn poll_hedges_first(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        let raced = self.as_mut().race(None, cx);
        if raced.is_ready() {
            return raced;
        }
        match ready!(self.as_mut().poll_first(cx)) {
            (true, result) => Poll::Ready(result),
            (false, result) => self.race(Some(result), cx),
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
