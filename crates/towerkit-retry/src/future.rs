use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;
use towerkit_core::{DrainResponse, InspectResult, Protocol, ReplayRequest};

use crate::{delay::Delay, retry_state::RetryState};

/// The future of a [`Retry`](crate::Retry).
///
/// Dropping it drops the running attempt or the delay, and no further attempt is made.
#[pin_project]
pub struct RetryFuture<S, P, Req>
where
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
    S: Service<Req>,
{
    #[pin]
    phase: PhaseOf<S, P, Req>,
    /// `None` for a call with a single attempt.
    state: Option<RetryState<S, P, Req>>,
}

type PhaseOf<S, P, Req> = Phase<
    <S as Service<Req>>::Future,
    Req,
    Drain<<P as Protocol<Req>>::Exchange, <S as Service<Req>>::Response>,
>;

/// The future that drains a failed response.
type Drain<X, T> = <X as DrainResponse<T>>::Drain;

#[pin_project(project = PhaseProjection)]
enum Phase<F, Req, D> {
    Attempt(#[pin] F),
    /// Waits for the end of the delay, and then for the service to be ready.
    Delay {
        #[pin]
        delay: Delay<D>,
        next: Option<Req>,
    },
    Over,
}

impl<S, P, Req> RetryFuture<S, P, Req>
where
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
    S: Service<Req>,
{
    #[inline(always)]
    pub(crate) fn new(first: S::Future, state: Option<RetryState<S, P, Req>>) -> Self {
        Self {
            phase: Phase::Attempt(first),
            state,
        }
    }
}

impl<S, P, Req> Future for RetryFuture<S, P, Req>
where
    P: ReplayRequest<Req>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
    S: Service<Req>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let PhaseProjection::Attempt(attempt) = this.phase.as_mut().project() else {
                let state = this.state.as_mut().expect("only a retried call waits");
                if let Err(error) = ready!(poll_next_attempt(state, this.phase.as_mut(), cx)) {
                    return Poll::Ready(Err(error));
                }
                continue;
            };
            let Some(state) = this.state.as_mut() else {
                return attempt.poll(cx);
            };
            let result = ready!(state.attempted.enter(|| attempt.poll(cx)));
            let Some(failure) = state.retryable_failure(&result) else {
                return Poll::Ready(state.report(result, None));
            };
            // Drops the attempt, which may hold the request body.
            this.phase.set(Phase::Over);
            match state.next_attempt(failure) {
                Err(reason) => return Poll::Ready(state.report(result, Some(reason))),
                Ok((delay, next)) => {
                    let drain = result.ok().map(|failed| state.exchange.drain(failed));
                    let (delay, next) = (Delay::new(delay, drain), Some(next));
                    this.phase.set(Phase::Delay { delay, next });
                }
            }
        }
    }
}

/// Starts the next attempt after the delay, once the service is ready.
///
/// An error of readiness ends the call, because such a service never becomes ready again.
fn poll_next_attempt<S, P, Req>(
    state: &mut RetryState<S, P, Req>,
    mut phase: Pin<&mut PhaseOf<S, P, Req>>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), S::Error>>
where
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
    S: Service<Req>,
{
    let PhaseProjection::Delay { delay, next } = phase.as_mut().project() else {
        panic!("polled after completion");
    };
    ready!(delay.poll(cx));
    ready!(state.inner.poll_ready(cx))?;
    let next = next.take().expect("it is taken once");
    let attempt = state.attempted.enter(|| state.inner.call(next));
    phase.set(Phase::Attempt(attempt));
    Poll::Ready(Ok(()))
}

impl<S, P, Req> fmt::Debug for RetryFuture<S, P, Req>
where
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
    S: Service<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.state.as_ref().map(|state| &state.failed_attempts);
        f.debug_struct("RetryFuture")
            .field("failed_attempts", &failed)
            .finish_non_exhaustive()
    }
}
