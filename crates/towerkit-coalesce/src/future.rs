use std::{
    fmt,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;
use towerkit_core::{CallEnd, ShareResponse};

use crate::{
    call_table::{AnyResponse, Follower, Joined, Leader},
    config::Config,
    shared_call::CallResult,
};

/// The future of a [`Coalesce`](crate::Coalesce).
///
/// If it is dropped while it calls the inner service, one of its waiters calls next.
#[pin_project]
pub struct CoalesceFuture<S, K, X, Req>
where
    S: Service<Req>,
    K: Hash + Eq,
    X: ShareResponse<S::Response, S::Error>,
{
    #[pin]
    state: State<S, K, X, Req>,
    exchange: X,
    config: Config,
}

#[pin_project(project = StateProj)]
enum State<S, K, X, Req>
where
    S: Service<Req>,
    K: Hash + Eq,
    X: ShareResponse<S::Response, S::Error>,
{
    /// Waits for another call.
    Waiting(Option<(Follower<K>, Deferred<S, Req>)>),
    /// Waits for the inner service to become ready.
    Readying(Option<Leader<K>>, Option<Deferred<S, Req>>),
    /// Calls the inner service, for others too if it is the leader.
    Calling(#[pin] S::Future, Option<Leader<K>>),
    /// Reads the response.
    Collecting(#[pin] X::Collect, Option<Leader<K>>),
}

/// The service, not yet ready, and the request of a call that waits for another.
pub(crate) struct Deferred<S, Req> {
    pub(crate) inner: S,
    pub(crate) request: Req,
}

impl<S, K, X, Req> CoalesceFuture<S, K, X, Req>
where
    S: Service<Req>,
    K: Hash + Eq,
    X: ShareResponse<S::Response, S::Error>,
{
    pub(crate) fn calling(
        call: S::Future,
        lead: Option<Leader<K>>,
        exchange: X,
        config: &Config,
    ) -> Self {
        Self {
            state: State::Calling(call, lead),
            exchange,
            config: config.clone(),
        }
    }

    pub(crate) fn waiting(
        wait: Follower<K>,
        deferred: Deferred<S, Req>,
        exchange: X,
        config: &Config,
    ) -> Self {
        Self {
            state: State::Waiting(Some((wait, deferred))),
            exchange,
            config: config.clone(),
        }
    }
}

impl<S, K, X, Req> Future for CoalesceFuture<S, K, X, Req>
where
    S: Service<Req>,
    K: Hash + Eq,
    X: ShareResponse<S::Response, S::Error>,
{
    type Output = Result<X::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        loop {
            let next = match me.state.as_mut().project() {
                StateProj::Waiting(waiting) => {
                    let (wait, _) = waiting.as_mut().expect(NOT_POLLED_AGAIN);
                    let outcome = ready!(wait.poll(cx));
                    let (wait, deferred) = waiting.take().expect(NOT_POLLED_AGAIN);
                    if let Some(response) = copy_response(me.exchange, &outcome) {
                        return Poll::Ready(Ok(response));
                    }
                    me.config.max_waits -= 1;
                    after_wait(wait, &outcome, me.config.max_waits, deferred)
                }
                StateProj::Readying(lead, deferred) => {
                    let inner = &mut deferred.as_mut().expect(NOT_POLLED_AGAIN).inner;
                    ready!(poll_as_leader(lead, || inner.poll_ready(cx)))?;
                    let lead = lead.take();
                    let Deferred { mut inner, request } = deferred.take().expect(NOT_POLLED_AGAIN);
                    State::Calling(inner.call(request), lead)
                }
                StateProj::Calling(call, lead) => {
                    let result = ready!(poll_as_leader(lead, || call.poll(cx)));
                    if lead.is_none() {
                        return Poll::Ready(result.map(|response| me.exchange.pass(response)));
                    }
                    let lead = lead.take();
                    let collect = me.exchange.collect(result, me.config.max_body);
                    State::Collecting(collect, lead)
                }
                StateProj::Collecting(collect, lead) => {
                    let (result, end) = ready!(poll_as_leader(lead, || collect.poll(cx)));
                    if let Some(lead) = lead.take() {
                        lead.complete(|| {
                            outcome_for_followers(me.exchange, me.config, &result, &end)
                        });
                    }
                    return Poll::Ready(result);
                }
            };
            me.state.set(next);
        }
    }
}

const NOT_POLLED_AGAIN: &str = "not polled after completion";

/// Polls with the leader taken out, so that a panic drops it, which wakes the followers at once.
fn poll_as_leader<K: Hash + Eq, T>(lead: &mut Option<Leader<K>>, poll: impl FnOnce() -> T) -> T {
    let held = lead.take();
    let polled = poll();
    *lead = held;
    polled
}

/// Copies the response of another call.
fn copy_response<T, E, X: ShareResponse<T, E>>(
    exchange: &X,
    outcome: &CallResult<AnyResponse>,
) -> Option<X::Response> {
    let CallResult::Shared(answer) = outcome else {
        return None;
    };
    // `None` if one layer wraps services with different types of response and equal keys.
    let shared = answer.downcast_ref::<X::Shared>()?;
    Some(exchange.copy(shared))
}

/// Returns the next state of a call that got no response from another.
fn after_wait<S, K, X, Req>(
    wait: Follower<K>,
    outcome: &CallResult<AnyResponse>,
    max_waits: usize,
    deferred: Deferred<S, Req>,
) -> State<S, K, X, Req>
where
    S: Service<Req>,
    K: Hash + Eq,
    X: ShareResponse<S::Response, S::Error>,
{
    if matches!(outcome, CallResult::Private | CallResult::Shared(_)) {
        return State::Readying(None, Some(deferred));
    }
    match wait.rejoin() {
        Joined::Leader(lead) => State::Readying(Some(lead), Some(deferred)),
        Joined::Follower(wait) if max_waits > 0 => State::Waiting(Some((wait, deferred))),
        Joined::Follower(_) => State::Readying(None, Some(deferred)),
    }
}

/// Returns the result for the followers of a call.
fn outcome_for_followers<T, E, X: ShareResponse<T, E>>(
    exchange: &X,
    config: &Config,
    result: &Result<X::Response, E>,
    end: &CallEnd,
) -> CallResult<AnyResponse> {
    match result {
        Ok(response) if config.share.allows(end) => match exchange.share(response) {
            Some(shared) => CallResult::Shared(Arc::new(shared)),
            None => CallResult::Private,
        },
        _ => CallResult::Failed,
    }
}

impl<S, K, X, Req> fmt::Debug for CoalesceFuture<S, K, X, Req>
where
    S: Service<Req>,
    K: Hash + Eq,
    X: ShareResponse<S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoalesceFuture").finish_non_exhaustive()
    }
}
