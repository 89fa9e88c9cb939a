use std::{
    fmt,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;
use towerkit_core::ShareResponse;

use crate::fetch::Fetch;

/// The future of a [`Cache`](crate::Cache).
///
/// Dropping it ends its call. The next caller then fetches the response.
#[pin_project]
pub struct CacheFuture<S, K, X, Req>
where
    S: Service<Req>,
    X: ShareResponse<S::Response, S::Error>,
{
    #[pin]
    state: State<S, K, X, Req>,
    exchange: X,
}

#[pin_project(project = StateProj)]
enum State<S, K, X, Req>
where
    S: Service<Req>,
    X: ShareResponse<S::Response, S::Error>,
{
    /// The response was in the cache.
    Cached(Option<X::Response>),
    /// The inner service was called, with a fetch if its response may be cached. Boxed, so that a hit does not carry its size.
    Calling(#[pin] S::Future, Option<Box<Fetch<K>>>),
    /// The response is being read.
    Collecting(#[pin] X::Collect, Option<Box<Fetch<K>>>),
}

impl<S, K, X, Req> CacheFuture<S, K, X, Req>
where
    S: Service<Req>,
    X: ShareResponse<S::Response, S::Error>,
{
    pub(crate) fn cached(response: X::Response, exchange: X) -> Self {
        Self {
            state: State::Cached(Some(response)),
            exchange,
        }
    }

    pub(crate) fn calling(call: S::Future, fetch: Option<Box<Fetch<K>>>, exchange: X) -> Self {
        Self {
            state: State::Calling(call, fetch),
            exchange,
        }
    }
}

impl<S, K, X, Req> Future for CacheFuture<S, K, X, Req>
where
    S: Service<Req>,
    K: Hash + Eq + Send + Sync + 'static,
    X: ShareResponse<S::Response, S::Error>,
{
    type Output = Result<X::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        loop {
            let next = match me.state.as_mut().project() {
                StateProj::Cached(response) => {
                    let response = response.take().expect("not polled after completion");
                    return Poll::Ready(Ok(response));
                }
                StateProj::Calling(call, fetch) => {
                    let result = ready!(poll_without(fetch, || call.poll(cx)));
                    let Some(fetch) = fetch.take() else {
                        return Poll::Ready(result.map(|response| me.exchange.pass(response)));
                    };
                    let collect = me.exchange.collect(result, fetch.max_body());
                    State::Collecting(collect, Some(fetch))
                }
                StateProj::Collecting(collect, fetch) => {
                    let (result, end) = ready!(poll_without(fetch, || collect.poll(cx)));
                    return Poll::Ready(match fetch.take() {
                        Some(fetch) => fetch.complete(me.exchange, result, &end),
                        None => result,
                    });
                }
            };
            me.state.set(next);
        }
    }
}

/// Polls with the fetch outside of the state, so that a panic drops it and the next caller fetches at once.
fn poll_without<K, T>(fetch: &mut Option<Box<Fetch<K>>>, poll: impl FnOnce() -> T) -> T {
    let taken = fetch.take();
    let polled = poll();
    *fetch = taken;
    polled
}

impl<S, K, X, Req> fmt::Debug for CacheFuture<S, K, X, Req>
where
    S: Service<Req>,
    X: ShareResponse<S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheFuture").finish_non_exhaustive()
    }
}
