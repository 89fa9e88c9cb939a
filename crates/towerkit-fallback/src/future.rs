use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use towerkit_core::{CallEnd, InspectResult};

use crate::{FallbackResponse, FallbackUsed, config::Config};

/// The future of a [`Fallback`](crate::Fallback).
#[pin_project]
pub struct FallbackFuture<F, A, X> {
    #[pin]
    pub(crate) inner: F,
    /// `None` for a call that keeps its response.
    pub(crate) shared: Option<Arc<Shared<A>>>,
    pub(crate) exchange: X,
}

impl<F, A, X, T, E> Future for FallbackFuture<F, A, X>
where
    F: Future<Output = Result<T, E>>,
    A: FallbackResponse<T, E>,
    X: InspectResult<T, E>,
{
    type Output = Result<T, E>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.project();
        let result = ready!(me.inner.poll(cx));
        let Some(shared) = me.shared else {
            return Poll::Ready(result);
        };
        let end = me.exchange.inspect(&result);
        Poll::Ready(if shared.config.falls_back(&end) {
            shared.replace(me.exchange, result, &end)
        } else {
            result
        })
    }
}

impl<A> Shared<A> {
    #[cold]
    #[inline(never)]
    fn replace<T, E, X>(&self, exchange: &X, failed: Result<T, E>, end: &CallEnd) -> Result<T, E>
    where
        A: FallbackResponse<T, E>,
        X: InspectResult<T, E>,
    {
        let response = self.response.respond(failed, end);
        let failed = FallbackUsed::new(self.config.name.clone(), end);
        self.config.conclude(exchange, failed, response)
    }
}

impl<F, A, X> fmt::Debug for FallbackFuture<F, A, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackFuture").finish_non_exhaustive()
    }
}

/// The state that the calls of a service share.
#[derive(Debug)]
pub(crate) struct Shared<A> {
    pub(crate) response: A,
    pub(crate) config: Config,
}
