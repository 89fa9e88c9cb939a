use std::{
    fmt,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tokio::{task::coop::unconstrained, time::Sleep};
use towerkit_core::{InFlightCall, InspectResult, Name, RejectCall, Rejection, RejectionReason};

use crate::limit::Limit;

/// The future of a [`Timeout`](crate::Timeout).
#[pin_project]
pub struct TimeoutFuture<F, X> {
    /// `None` once the call has timed out.
    #[pin]
    inner: Option<F>,
    #[pin]
    timer: Option<Sleep>,
    limit: Limit,
    /// The name in the rejection; `None` for a call without a limit.
    name: Option<Name>,
    exchange: X,
}

impl<F, X> TimeoutFuture<F, X> {
    #[inline(always)]
    pub(crate) fn new(inner: F, exchange: X, name: Name, limit: Limit) -> Self {
        Self {
            inner: Some(inner),
            timer: None,
            limit,
            name: Some(name),
            exchange,
        }
    }

    /// Creates the future of a call without a limit.
    #[inline(always)]
    pub(crate) fn unlimited(inner: F, exchange: X) -> Self {
        Self {
            inner: Some(inner),
            timer: None,
            limit: Limit::Never,
            name: None,
            exchange,
        }
    }

    /// Creates the future of a call that begins after its deadline.
    #[cold]
    pub(crate) fn expired(exchange: X, name: Name) -> Self {
        Self {
            inner: None,
            timer: None,
            limit: Limit::Never,
            name: Some(name),
            exchange,
        }
    }
}

impl<F, X, T, E> Future for TimeoutFuture<F, X>
where
    F: Future<Output = Result<T, E>>,
    X: RejectCall<T, E> + InspectResult<T, E>,
{
    type Output = Result<X::Response<()>, E>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        if let Some(inner) = me.inner.as_mut().as_pin_mut() {
            match inner.poll(cx) {
                Poll::Ready(result) if !me.limit.has_ended(me.exchange, &result) => {
                    return Poll::Ready(me.exchange.track(result, &mut InFlightCall::none()));
                }
                Poll::Ready(_) => {}
                Poll::Pending => ready!(poll_timer(me.timer, *me.limit, cx)),
            }
            me.inner.set(None);
        }
        let name = me
            .name
            .take()
            .expect("a call with a limit is rejected once");
        let rejection = Rejection::new(RejectionReason::DeadlineExceeded, name);
        Poll::Ready(me.exchange.reject(rejection))
    }
}

/// Polls the timer, and creates it at the first pending poll.
fn poll_timer(mut timer: Pin<&mut Option<Sleep>>, limit: Limit, cx: &mut Context<'_>) -> Poll<()> {
    if timer.is_none() {
        timer.set(limit.timer());
    }
    match timer.as_pin_mut() {
        // Without `unconstrained` the timer would not fire if the inner future uses up the task's cooperative budget at every poll.
        Some(timer) => pin!(unconstrained(timer)).poll(cx),
        None => Poll::Pending,
    }
}

impl<F, X> fmt::Debug for TimeoutFuture<F, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeoutFuture")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
