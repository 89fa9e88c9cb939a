use std::{
    convert::Infallible,
    future,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{BoxError, Service};

/// The request that every HTTP case answers.
pub type HttpRequest = Request<Full<Bytes>>;

/// The innermost service of a plain case.
pub trait Plain:
    Service<u64, Response = u64, Error = BoxError, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Plain for S where
    S: Service<u64, Response = u64, Error = BoxError, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// The innermost service of an HTTP case.
pub trait Http:
    Service<
        HttpRequest,
        Response = Response<Self::Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
    /// The body of its responses.
    type Body: http_body::Body<Data = Bytes, Error: std::fmt::Display + Send + 'static>
        + Send
        + 'static;
}

impl<S, B> Http for S
where
    S: Service<HttpRequest, Response = Response<B>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Display + Send + 'static> + Send + 'static,
{
    type Body = B;
}

/// A body with which a bare service answers.
pub trait Answer: http_body::Body<Data = Bytes> + Send + 'static {
    /// Makes it, without an allocation.
    fn answer() -> Self;
}

impl Answer for Full<Bytes> {
    fn answer() -> Self {
        Self::new(Bytes::from_static(b"hello"))
    }
}

/// A box of nothing, which costs no allocation.
impl Answer for Body {
    fn answer() -> Self {
        Self::empty()
    }
}

/// A service that answers at once.
#[derive(Debug)]
pub struct Ready<B = Full<Bytes>>(PhantomData<fn() -> B>);

/// A service that the compiler cannot see through and whose answers are pending once.
#[derive(Debug)]
pub struct Late<B = Full<Bytes>>(PhantomData<fn() -> B>);

impl<B> Ready<B> {
    /// Makes the service.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<B> Late<B> {
    /// Makes the service.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<B> Clone for Ready<B> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<B> Clone for Late<B> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<B> Default for Ready<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B> Default for Late<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl Service<u64> for Ready {
    type Response = u64;
    type Error = BoxError;
    type Future = future::Ready<Result<u64, BoxError>>;

    #[inline(always)]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, request: u64) -> Self::Future {
        future::ready(Ok(request))
    }
}

impl<B: Answer> Service<HttpRequest> for Ready<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = future::Ready<Result<Response<B>, Infallible>>;

    #[inline(always)]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, _request: HttpRequest) -> Self::Future {
        future::ready(Ok(Response::new(B::answer())))
    }
}

impl Service<u64> for Late {
    type Response = u64;
    type Error = BoxError;
    type Future = LateFuture<Result<u64, BoxError>>;

    #[inline(never)]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: u64) -> Self::Future {
        LateFuture::new(Ok(request))
    }
}

impl<B: Answer> Service<HttpRequest> for Late<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = LateFuture<Result<Response<B>, Infallible>>;

    #[inline(never)]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, _request: HttpRequest) -> Self::Future {
        LateFuture::new(Ok(Response::new(B::answer())))
    }
}

/// The future of [`Late`]: pending when it is first polled, ready when it is polled again.
#[derive(Debug)]
pub struct LateFuture<T> {
    answer: Option<T>,
    polled: bool,
}

impl<T> LateFuture<T> {
    fn new(answer: T) -> Self {
        Self {
            answer: Some(answer),
            polled: false,
        }
    }
}

// The answer is only ever moved out, never pinned.
impl<T> Unpin for LateFuture<T> {}

impl<T> Future for LateFuture<T> {
    type Output = T;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<T> {
        if !self.polled {
            self.polled = true;
            return Poll::Pending;
        }
        Poll::Ready(self.answer.take().expect("polled once after the pending"))
    }
}
