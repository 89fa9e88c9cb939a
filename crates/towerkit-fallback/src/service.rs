use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;
use towerkit_core::{Bypass, CallEnd, InspectResult, NoProtocol, Protocol};

use crate::{FellBack, Substitute, settings::Settings};

/// A service whose failures get an answer that is there at once.
#[derive(Debug)]
pub struct Fallback<S, A, P = NoProtocol> {
    inner: S,
    shared: Arc<Shared<A>>,
    protocol: P,
}

/// What the calls of a service share, in one place.
#[derive(Debug)]
struct Shared<A> {
    answer: A,
    settings: Settings,
}

impl<S, A: Clone, P: Clone> Fallback<S, A, P> {
    pub(crate) fn new(inner: S, answer: &A, settings: &Settings, protocol: &P) -> Self {
        Self {
            inner,
            shared: Arc::new(Shared {
                answer: answer.clone(),
                settings: settings.clone(),
            }),
            protocol: protocol.clone(),
        }
    }
}

impl<S: Clone, A, P: Clone> Clone for Fallback<S, A, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<S, A, P, Req> Service<Req> for Fallback<S, A, P>
where
    S: Service<Req>,
    A: Substitute<S::Response, S::Error>,
    P: Protocol<Req>,
    P::Exchange: InspectResult<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = FallbackFuture<S::Future, A, P::Exchange>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let kind = self.protocol.kind(&request);
        let exchange = self.protocol.open(&request, kind);
        FallbackFuture {
            inner: self.inner.call(request),
            shared: Some(self.shared.clone()),
            exchange,
        }
    }
}

impl<S, A, P, Req> Bypass<Req> for Fallback<S, A, P>
where
    S: Service<Req>,
    A: Substitute<S::Response, S::Error>,
    P: Protocol<Req>,
    P::Exchange: InspectResult<S::Response, S::Error>,
{
    fn bypass(&mut self, request: Req) -> Self::Future {
        let exchange = self.protocol.open(&request, self.protocol.kind(&request));
        FallbackFuture {
            inner: self.inner.call(request),
            shared: None,
            exchange,
        }
    }
}

/// The future of a [`Fallback`].
#[pin_project]
pub struct FallbackFuture<F, A, X> {
    #[pin]
    inner: F,
    /// `None` for a call that keeps its answer, whatever it is.
    shared: Option<Arc<Shared<A>>>,
    exchange: X,
}

impl<F, A, X, T, E> Future for FallbackFuture<F, A, X>
where
    F: Future<Output = Result<T, E>>,
    A: Substitute<T, E>,
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
        Poll::Ready(if shared.settings.chooses(&end) {
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
        A: Substitute<T, E>,
        X: InspectResult<T, E>,
    {
        let answer = self.answer.substitute(failed, end);
        let failed = FellBack::new(self.settings.name, end);
        self.settings.conclude(exchange, failed, answer)
    }
}

impl<F, A, X> fmt::Debug for FallbackFuture<F, A, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackFuture").finish_non_exhaustive()
    }
}
