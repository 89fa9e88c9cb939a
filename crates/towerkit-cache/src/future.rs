use std::{
    fmt,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;
use towerkit_core::ShareResponse;

use crate::errand::Errand;

/// The future of a [`Cache`](crate::Cache).
///
/// Dropping it ends the call, if it makes one, and leaves to the next caller what it was to fetch.
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
    /// It is answered from what is kept.
    Kept(Option<X::Response>),
    /// It is calling, for an answer to keep or for its caller alone. Boxed, as all who find an answer do without.
    Calling(#[pin] S::Future, Option<Box<Errand<K>>>),
    /// It is reading the answer.
    Collecting(#[pin] X::Collect, Option<Box<Errand<K>>>),
}

impl<S, K, X, Req> CacheFuture<S, K, X, Req>
where
    S: Service<Req>,
    X: ShareResponse<S::Response, S::Error>,
{
    pub(crate) fn kept(response: X::Response, exchange: X) -> Self {
        Self {
            state: State::Kept(Some(response)),
            exchange,
        }
    }

    pub(crate) fn calling(call: S::Future, errand: Option<Box<Errand<K>>>, exchange: X) -> Self {
        Self {
            state: State::Calling(call, errand),
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
                StateProj::Kept(response) => {
                    let response = response.take().expect("not polled after completion");
                    return Poll::Ready(Ok(response));
                }
                StateProj::Calling(call, errand) => {
                    let result = ready!(on_errand(errand, || call.poll(cx)));
                    let Some(errand) = errand.take() else {
                        return Poll::Ready(result.map(|response| me.exchange.pass(response)));
                    };
                    let collect = me.exchange.collect(result, errand.max_body());
                    State::Collecting(collect, Some(errand))
                }
                StateProj::Collecting(collect, errand) => {
                    let (result, end) = ready!(on_errand(errand, || collect.poll(cx)));
                    return Poll::Ready(match errand.take() {
                        Some(errand) => errand.settle(me.exchange, result, &end),
                        None => result,
                    });
                }
            };
            me.state.set(next);
        }
    }
}

/// Polls while nobody is on the errand: a panic leaves it to the next caller at once.
fn on_errand<K, T>(errand: &mut Option<Box<Errand<K>>>, poll: impl FnOnce() -> T) -> T {
    let held = errand.take();
    let polled = poll();
    *errand = held;
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
