use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tokio::time::Sleep;
use tower_service::Service;
use towerkit_core::{Discard, Peek, Repeat};

use crate::{coop::CoopBudget, hedging::Hedging};

/// The future of a [`Hedge`](crate::Hedge).
#[pin_project]
pub struct HedgeFuture<S, P, Req>
where
    S: Service<P::Attempt>,
    P: Repeat<Req, Exchange: Discard<S::Response>>,
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
    S: Service<P::Attempt>,
    P: Repeat<Req, Exchange: Discard<S::Response>>,
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

impl<S, P, Req> Future for HedgeFuture<S, P, Req>
where
    P: Repeat<Req>,
    P::Exchange: Peek<S::Response, S::Error> + Discard<S::Response>,
    S: Service<P::Attempt> + Clone,
{
    type Output = Result<S::Response, S::Error>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        let Some(hedging) = me.hedging else {
            let first = me.first.as_pin_mut();
            return first.expect("not polled after completion").poll(cx);
        };
        let budget = CoopBudget::before_poll();
        let is_first_last = hedging.is_first_last();
        if is_first_last {
            let (timer, goes_on) = (me.timer.as_mut(), me.first.is_some());
            let raced = hedging.race(timer, goes_on, None, budget, cx);
            if raced.is_ready() {
                me.first.set(None);
                *me.hedging = None;
                return raced;
            }
        }
        let mut failed = None;
        if let Some(first) = me.first.as_mut().as_pin_mut()
            && let Poll::Ready(result) = first.poll(cx)
        {
            me.first.set(None);
            me.timer.set(None);
            if hedging.first_ended(&result) {
                *me.hedging = None;
                return Poll::Ready(result);
            }
            failed = Some(result);
        } else if is_first_last {
            return Poll::Pending;
        }
        let is_first_going_on = me.first.is_some();
        let raced = hedging.race(me.timer, is_first_going_on, failed, budget, cx);
        if raced.is_ready() {
            // Before anyone learns who won.
            me.first.set(None);
            *me.hedging = None;
        }
        raced
    }
}

impl<S, P, Req> fmt::Debug for HedgeFuture<S, P, Req>
where
    S: Service<P::Attempt>,
    P: Repeat<Req, Exchange: Discard<S::Response>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeFuture")
            .field("may_hedge", &self.hedging.is_some())
            .finish_non_exhaustive()
    }
}
