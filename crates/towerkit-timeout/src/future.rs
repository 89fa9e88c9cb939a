use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Sleep, sleep};
use towerkit_core::{Armed, Reason, Refuse, Rejection};

/// The future of a [`Timeout`](crate::Timeout).
#[pin_project]
pub struct TimeoutFuture<F, X> {
    #[pin]
    inner: Option<F>,
    #[pin]
    timer: Option<Sleep>,
    timeout: Duration,
    name: &'static str,
    exchange: X,
}

impl<F, X> TimeoutFuture<F, X> {
    #[inline(always)]
    pub(crate) fn new(inner: F, exchange: X, name: &'static str, timeout: Duration) -> Self {
        Self {
            inner: Some(inner),
            timer: None,
            timeout,
            name,
            exchange,
        }
    }
}

impl<F, X, T, E> Future for TimeoutFuture<F, X>
where
    F: Future<Output = Result<T, E>>,
    X: Refuse<T, E>,
{
    type Output = Result<X::Response<()>, E>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        let inner = me.inner.as_mut().as_pin_mut();
        let inner = inner.expect("not polled after completion");
        if let Poll::Ready(result) = inner.poll(cx) {
            return Poll::Ready(me.exchange.follow(result, &mut Armed::none()));
        }
        if is_over(me.timer, *me.timeout, cx).is_pending() {
            return Poll::Pending;
        }
        me.inner.set(None);
        let rejection = Rejection::new(Reason::DeadlineExceeded, me.name);
        Poll::Ready(me.exchange.refuse(rejection))
    }
}

/// Polls the timer, which the first call that waits makes.
fn is_over(
    mut timer: Pin<&mut Option<Sleep>>,
    timeout: Duration,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        match timer.as_mut().as_pin_mut() {
            Some(timer) => return timer.poll(cx),
            None => timer.set(Some(sleep(timeout))),
        }
    }
}

impl<F, X> fmt::Debug for TimeoutFuture<F, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeoutFuture")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
