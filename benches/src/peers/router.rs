use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use futures_util::{
    FutureExt,
    future::{Either, Map},
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::StatusCode;
use recloser::{AnyError, AsyncRecloser, Recloser, RecloserFuture};
use tower::{Layer, Service, layer::layer_fn};

/// A route behind governor's limit, which answers 429 to a rejected call.
#[derive(Debug, Clone)]
pub struct GovernedRoute<S> {
    inner: S,
    limiter: Arc<DefaultDirectRateLimiter>,
}

/// Makes governor's limit of a billion calls a second for the routes of axum.
///
/// # Panics
///
/// Never: the quota is valid.
#[must_use]
pub fn governor_for_routes<S>() -> impl Layer<S, Service = GovernedRoute<S>> + Clone {
    let quota = Quota::per_second(1_000_000_000.try_into().expect("not zero"));
    let limiter = Arc::new(RateLimiter::direct(quota));
    layer_fn(move |inner| GovernedRoute {
        inner,
        limiter: limiter.clone(),
    })
}

impl<S> Service<Request> for GovernedRoute<S>
where
    S: Service<Request, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: Request) -> Self::Future {
        match self.limiter.check() {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(_) => Either::Right(ready(Ok(StatusCode::TOO_MANY_REQUESTS.into_response()))),
        }
    }
}

/// A route behind recloser's breaker, which answers 503 to a rejected call.
#[derive(Debug, Clone)]
pub struct ReclosedRoute<S> {
    inner: S,
    breaker: AsyncRecloser,
}

/// Makes recloser's breaker with its defaults for the routes of axum.
#[must_use]
pub fn recloser_for_routes<S>() -> impl Layer<S, Service = ReclosedRoute<S>> + Clone {
    let breaker = AsyncRecloser::from(Recloser::default());
    layer_fn(move |inner| ReclosedRoute {
        inner,
        breaker: breaker.clone(),
    })
}

type Reclosed = Result<Response<Body>, recloser::Error<Infallible>>;

fn answer(result: Reclosed) -> Result<Response<Body>, Infallible> {
    Ok(result.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response()))
}

impl<S> Service<Request> for ReclosedRoute<S>
where
    S: Service<Request, Response = Response<Body>, Error = Infallible>,
    S::Future: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Map<
        RecloserFuture<S::Future, AnyError>,
        fn(Reclosed) -> Result<Response<Body>, Infallible>,
    >;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: Request) -> Self::Future {
        self.breaker.call(self.inner.call(request)).map(answer)
    }
}
