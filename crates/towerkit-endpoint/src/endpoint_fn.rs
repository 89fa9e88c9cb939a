use std::{
    fmt,
    task::{Context, Poll},
};

use tower::util::BoxCloneSyncService;
use tower_service::Service;

use crate::Request;

/// Makes an endpoint of a function that takes the message, and of a state that each call gets a clone of.
///
/// The function needs no clone by hand before each `async move`, as a closure that captures its state does. [`call_fn`] is for a
/// function that reads headers or extensions, too.
pub fn endpoint_fn<A, F, T, Fut, U, E>(state: A, function: F) -> EndpointFn<A, F>
where
    F: Fn(A, T) -> Fut,
    Fut: Future<Output = Result<U, E>>,
{
    EndpointFn { state, function }
}

/// Makes an endpoint of a function that takes the whole [`Request`], and of a state that each call gets a clone of.
///
/// ```
/// use towerkit_endpoint::{EndpointExt, Request, RpcError, call_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let greet = call_fn((), |(), request: Request<String>| async move {
///     let tenant = request.headers.get("x-tenant").map_or("nowhere", |value| value.to_str().unwrap_or("?"));
///     Ok::<_, RpcError>(format!("hello, {} of {tenant}", request.message))
/// });
/// let mut request = Request::new("greet", "Ann".to_owned());
/// request.headers.insert("x-tenant", "blue".parse().unwrap());
/// assert_eq!(greet.invoke(request).await.unwrap(), "hello, Ann of blue");
/// # });
/// ```
pub fn call_fn<A, F, T, Fut, U, E>(state: A, function: F) -> CallFn<A, F>
where
    F: Fn(A, Request<T>) -> Fut,
    Fut: Future<Output = Result<U, E>>,
{
    CallFn { state, function }
}

/// An endpoint made by [`endpoint_fn`].
#[derive(Clone, Copy)]
pub struct EndpointFn<A, F> {
    state: A,
    function: F,
}

/// An endpoint made by [`call_fn`].
#[derive(Clone, Copy)]
pub struct CallFn<A, F> {
    state: A,
    function: F,
}

/// An endpoint with a type that names only its message, its response and its error.
///
/// It is for a place that has to name the type, such as a struct of endpoints. Each call allocates its future.
pub type Endpoint<T, U, E> = BoxCloneSyncService<Request<T>, U, E>;

/// Makes an [`Endpoint`] of a service.
///
/// ```
/// use towerkit_endpoint::{Endpoint, EndpointExt, RpcError, endpoint, endpoint_fn};
///
/// struct Endpoints {
///     double: Endpoint<u32, u32, RpcError>,
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let endpoints = Endpoints { double: endpoint(endpoint_fn((), |(), n: u32| async move { Ok(2 * n) })) };
/// assert_eq!(endpoints.double.invoke(4).await.unwrap(), 8);
/// # });
/// ```
pub fn endpoint<S, T>(service: S) -> Endpoint<T, S::Response, S::Error>
where
    S: Service<Request<T>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    T: 'static,
{
    BoxCloneSyncService::new(service)
}

impl<A, F, T, Fut, U, E> Service<Request<T>> for EndpointFn<A, F>
where
    A: Clone,
    F: Fn(A, T) -> Fut,
    Fut: Future<Output = Result<U, E>>,
{
    type Response = U;
    type Error = E;
    type Future = Fut;

    #[inline]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request<T>) -> Fut {
        (self.function)(self.state.clone(), request.message)
    }
}

impl<A, F, T, Fut, U, E> Service<Request<T>> for CallFn<A, F>
where
    A: Clone,
    F: Fn(A, Request<T>) -> Fut,
    Fut: Future<Output = Result<U, E>>,
{
    type Response = U;
    type Error = E;
    type Future = Fut;

    #[inline]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request<T>) -> Fut {
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

impl<A: fmt::Debug, F> fmt::Debug for CallFn<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFn")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
