use std::{
    fmt,
    task::{Context, Poll},
};

use failsafe::{
    StateMachine,
    backoff::EqualJittered,
    failure_policy::{ConsecutiveFailures, OrElse, SuccessRateOverTimeWindow},
    futures::CircuitBreaker,
};
use recloser::{AnyError, AsyncRecloser, Recloser, RecloserFuture};
use tower::Service;
use tower_resilience_circuitbreaker::{CircuitBreakerLayer, DefaultClassifier};

/// A recloser, as the layer that it is not.
#[derive(Debug, Clone)]
pub struct Reclosed<S> {
    inner: S,
    breaker: AsyncRecloser,
}

/// Puts recloser with its defaults in front of a service: failure rate 0.5 of the last 100 calls.
pub fn recloser<S>(inner: S) -> Reclosed<S> {
    Reclosed::new(inner, Recloser::default())
}

impl<S> Reclosed<S> {
    /// Puts a recloser in front of a service.
    pub fn new(inner: S, breaker: Recloser) -> Self {
        Self {
            inner,
            breaker: breaker.into(),
        }
    }
}

impl<S, Req, T, E> Service<Req> for Reclosed<S>
where
    S: Service<Req, Response = T, Error = E, Future: Future<Output = Result<T, E>>>,
{
    type Response = T;
    type Error = recloser::Error<E>;
    type Future = RecloserFuture<S::Future, AnyError>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(recloser::Error::Inner)
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        self.breaker.call(self.inner.call(request))
    }
}

/// A failsafe breaker, as the layer that it is not.
pub struct Safe<S, P> {
    inner: S,
    breaker: StateMachine<P, ()>,
}

/// The policy that failsafe's README calls reasonable.
pub type FailsafeDefault =
    OrElse<SuccessRateOverTimeWindow<EqualJittered>, ConsecutiveFailures<EqualJittered>>;

/// Puts failsafe with its defaults in front of a service: success rate over 30 seconds, or five failures in a row.
pub fn failsafe<S>(inner: S) -> Safe<S, FailsafeDefault> {
    Safe::new(inner, failsafe::Config::new().build())
}

impl<S, P> Safe<S, P> {
    /// Puts a failsafe breaker in front of a service.
    pub fn new(inner: S, breaker: StateMachine<P, ()>) -> Self {
        Self { inner, breaker }
    }
}

impl<S: Clone, P> Clone for Safe<S, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            breaker: self.breaker.clone(),
        }
    }
}

impl<S: fmt::Debug, P> fmt::Debug for Safe<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Safe")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, P, Req, T, E> Service<Req> for Safe<S, P>
where
    S: Service<Req, Response = T, Error = E, Future: Future<Output = Result<T, E>>>,
    P: failsafe::FailurePolicy + Send + Sync,
{
    type Response = T;
    type Error = failsafe::Error<E>;
    type Future = failsafe::futures::ResponseFuture<S::Future, P, (), failsafe::Any>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(failsafe::Error::Inner)
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let answer = self.inner.call(request);
        CircuitBreaker::call(&self.breaker, answer)
    }
}

/// Makes tower-resilience's breaker as its README does: failure rate 0.5 of a window of 100 calls.
#[must_use]
pub fn tower_resilience_breaker() -> CircuitBreakerLayer<DefaultClassifier> {
    CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100)
        .build()
        .expect("a valid configuration")
}
