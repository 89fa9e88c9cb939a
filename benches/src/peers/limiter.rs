use std::{
    error::Error,
    fmt,
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, MonotonicClock, QuantaClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use pin_project::pin_project;
use tower::{Service, limit::RateLimitLayer};
use tower_governor::{
    GovernorLayer, governor::GovernorConfigBuilder, key_extractor::GlobalKeyExtractor,
};
use tower_resilience_ratelimiter::RateLimiterLayer;

/// So many calls a second that no benchmark meets the limit.
const PLENTY: NonZeroU32 = NonZeroU32::new(1_000_000_000).expect("a billion is not zero");

/// A governor for all callers, as the layer that it is not.
pub struct Governed<S, C: Clock> {
    inner: S,
    limiter: Arc<Limiter<C>>,
}

type Limiter<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Puts governor with its default clock, quanta, in front of a service.
pub fn governor<S>(inner: S) -> Governed<S, QuantaClock> {
    Governed::new(inner, QuantaClock::default())
}

/// Puts governor with the standard clock in front of a service.
pub fn governor_monotonic<S>(inner: S) -> Governed<S, MonotonicClock> {
    Governed::new(inner, MonotonicClock)
}

/// Makes tower's limiter.
#[must_use]
pub fn tower_rate_limit() -> RateLimitLayer {
    RateLimitLayer::new(u64::from(PLENTY.get()), Duration::from_secs(1))
}

/// Makes tower-resilience's limiter, with the fixed window of its README.
#[must_use]
pub fn tower_resilience_limiter() -> RateLimiterLayer {
    RateLimiterLayer::builder()
        .limit_for_period(PLENTY.get() as usize)
        .refresh_period(Duration::from_secs(1))
        .build()
        .expect("a valid configuration")
}

/// Makes tower_governor with one key for all.
#[must_use]
pub fn tower_governor()
-> GovernorLayer<GlobalKeyExtractor, NoOpMiddleware<governor::clock::QuantaInstant>, Body> {
    let config = GovernorConfigBuilder::default()
        .per_nanosecond(1)
        .burst_size(PLENTY.get())
        .key_extractor(GlobalKeyExtractor)
        .finish()
        .expect("a valid configuration");
    GovernorLayer::new(config)
}

impl<S, C: Clock> Governed<S, C> {
    fn new(inner: S, clock: C) -> Self {
        let limiter = RateLimiter::direct_with_clock(Quota::per_second(PLENTY), clock);
        Self {
            inner,
            limiter: Arc::new(limiter),
        }
    }
}

impl<S: Clone, C: Clock> Clone for Governed<S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limiter: Arc::clone(&self.limiter),
        }
    }
}

impl<S: fmt::Debug, C: Clock> fmt::Debug for Governed<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Governed")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S: Service<Req>, C: Clock, Req> Service<Req> for Governed<S, C> {
    type Response = S::Response;
    type Error = GovernedError<S::Error, C>;
    type Future = GovernedFuture<S::Future, C>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(GovernedError::Inner)
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        match self.limiter.check() {
            Ok(()) => GovernedFuture::Running(self.inner.call(request)),
            Err(rejection) => GovernedFuture::Rejected(Some(rejection)),
        }
    }
}

/// The future of [`Governed`].
#[pin_project(project = GovernedProj)]
pub enum GovernedFuture<F, C: Clock> {
    /// Admitted.
    Running(#[pin] F),
    /// Rejected.
    Rejected(Option<NotUntil<C::Instant>>),
}

impl<F, C: Clock> fmt::Debug for GovernedFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GovernedFuture")
    }
}

impl<F: Future<Output = Result<T, E>>, T, E, C: Clock> Future for GovernedFuture<F, C> {
    type Output = Result<T, GovernedError<E, C>>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            GovernedProj::Running(inner) => inner.poll(cx).map_err(GovernedError::Inner),
            GovernedProj::Rejected(rejection) => {
                let rejection = rejection.take().expect("polled once");
                Poll::Ready(Err(GovernedError::Rejected(rejection)))
            }
        }
    }
}

/// The error of [`Governed`].
pub enum GovernedError<E, C: Clock> {
    /// The inner service's.
    Inner(E),
    /// The call was rejected until then.
    Rejected(NotUntil<C::Instant>),
}

impl<E: fmt::Debug, C: Clock> fmt::Debug for GovernedError<E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(error) => error.fmt(f),
            Self::Rejected(_) => f.write_str("rejected"),
        }
    }
}

impl<E: fmt::Display, C: Clock> fmt::Display for GovernedError<E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(error) => error.fmt(f),
            Self::Rejected(_) => f.write_str("rejected"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display, C: Clock> Error for GovernedError<E, C> {}
