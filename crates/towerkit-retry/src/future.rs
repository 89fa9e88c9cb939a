use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;
use towerkit_core::{DrainResponse, InspectResult, Protocol, ReplayRequest};

use crate::{again::Again, pause::Pause};

/// The future of a [`Retry`](crate::Retry).
///
/// Dropping it drops the attempt that runs, or the pause, and there is no further attempt.
#[pin_project]
pub struct RetryFuture<S, P, Req>
where
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
    S: Service<P::Attempt>,
{
    #[pin]
    state: StateOf<S, P, Req>,
    /// `None` for a call that is tried once.
    again: Option<Again<S, P, Req>>,
}

type StateOf<S, P, Req> = State<
    <S as Service<<P as ReplayRequest<Req>>::Attempt>>::Future,
    <P as ReplayRequest<Req>>::Attempt,
    Unwanted<
        <P as Protocol<Req>>::Exchange,
        <S as Service<<P as ReplayRequest<Req>>::Attempt>>::Response,
    >,
>;

/// A failed response that is being discarded.
type Unwanted<X, T> = <X as DrainResponse<T>>::Drain;

#[pin_project(project = StateProjection)]
enum State<F, A, D> {
    Trying(#[pin] F),
    /// For the pause to be over, and then for the service to be ready.
    Waiting {
        #[pin]
        pause: Pause<D>,
        next: Option<A>,
    },
    Over,
}

impl<S, P, Req> RetryFuture<S, P, Req>
where
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
    S: Service<P::Attempt>,
{
    #[inline(always)]
    pub(crate) fn new(first: S::Future, again: Option<Again<S, P, Req>>) -> Self {
        Self {
            state: State::Trying(first),
            again,
        }
    }
}

impl<S, P, Req> Future for RetryFuture<S, P, Req>
where
    P: ReplayRequest<Req>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
    S: Service<P::Attempt>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        loop {
            let StateProjection::Trying(attempt) = me.state.as_mut().project() else {
                let again = me.again.as_mut().expect("only such a call waits");
                if let Err(error) = ready!(poll_next(again, me.state.as_mut(), cx)) {
                    return Poll::Ready(Err(error));
                }
                continue;
            };
            let result = ready!(attempt.poll(cx));
            let Some(again) = me.again.as_mut() else {
                return Poll::Ready(result);
            };
            let Some(trouble) = again.trouble(&result) else {
                return Poll::Ready(again.report(result, None));
            };
            me.state.set(State::Over);
            match again.next(trouble) {
                Err(reason) => return Poll::Ready(again.report(result, Some(reason))),
                Ok((wait, next)) => {
                    let unwanted = result.ok().map(|failed| again.exchange.drain(failed));
                    let (pause, next) = (Pause::new(wait, unwanted), Some(next));
                    me.state.set(State::Waiting { pause, next });
                }
            }
        }
    }
}

/// Starts the next attempt once the pause is over and the service is ready.
///
/// A service whose readiness fails is finished for good, so that its error is the last.
fn poll_next<S, P, Req>(
    again: &mut Again<S, P, Req>,
    mut state: Pin<&mut StateOf<S, P, Req>>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), S::Error>>
where
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
    S: Service<P::Attempt>,
{
    let StateProjection::Waiting { pause, next } = state.as_mut().project() else {
        panic!("polled after completion");
    };
    ready!(pause.poll(cx));
    ready!(again.inner.poll_ready(cx))?;
    let next = next.take().expect("it is taken once");
    let attempt = again.inner.call(next);
    state.set(State::Trying(attempt));
    Poll::Ready(Ok(()))
}

impl<S, P, Req> fmt::Debug for RetryFuture<S, P, Req>
where
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
    S: Service<P::Attempt>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.again.as_ref().map(|again| &again.failed);
        f.debug_struct("RetryFuture")
            .field("failed", &failed)
            .finish_non_exhaustive()
    }
}
