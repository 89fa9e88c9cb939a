use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

/// Makes an endpoint of a function and the state that each call gets a clone of.
///
/// Unlike a function that captures its state, it needs no clone by hand before each `async move`.
pub fn endpoint_fn<A, F, Req, Fut, T, E>(state: A, function: F) -> EndpointFn<A, F>
where
    F: Fn(A, Req) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    EndpointFn { state, function }
}

/// An endpoint made by [`endpoint_fn`].
#[derive(Clone, Copy)]
pub struct EndpointFn<A, F> {
    state: A,
    function: F,
}

impl<A, F, Fut, Req, T, E> Service<Req> for EndpointFn<A, F>
where
    A: Clone,
    F: Fn(A, Req) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Response = T;
    type Error = E;
    type Future = Fut;

    #[inline]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Fut {
        (self.function)(self.state.clone(), request)
    }
}

impl<A: fmt::Debug, F> fmt::Debug for EndpointFn<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointFn")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
