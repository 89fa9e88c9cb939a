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
    flight::Landing,
    flights::{Answer, Joined, Lead, Wait},
    settings::Settings,
};

/// The future of a [`Coalesce`](crate::Coalesce).
///
/// Dropping it ends a call that is its own, and leaves those who wait for it to themselves.
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
    settings: Settings,
}

#[pin_project(project = StateProj)]
enum State<S, K, X, Req>
where
    S: Service<Req>,
    K: Hash + Eq,
    X: ShareResponse<S::Response, S::Error>,
{
    /// Another is calling.
    Waiting(Option<(Wait<K>, Parked<S, Req>)>),
    /// It is to call, with readiness of its own.
    Readying(Option<Lead<K>>, Option<Parked<S, Req>>),
    /// It is calling, for others too if it leads.
    Calling(#[pin] S::Future, Option<Lead<K>>),
    /// It is reading the answer.
    Collecting(#[pin] X::Collect, Option<Lead<K>>),
}

/// What is put aside while another is calling: a service that is not ready, and the request.
pub(crate) struct Parked<S, Req> {
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
        lead: Option<Lead<K>>,
        exchange: X,
        settings: &Settings,
    ) -> Self {
        Self {
            state: State::Calling(call, lead),
            exchange,
            settings: settings.clone(),
        }
    }

    pub(crate) fn waiting(
        wait: Wait<K>,
        parked: Parked<S, Req>,
        exchange: X,
        settings: &Settings,
    ) -> Self {
        Self {
            state: State::Waiting(Some((wait, parked))),
            exchange,
            settings: settings.clone(),
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
                    let (wait, _) = waiting.as_mut().expect(ONCE);
                    let landing = ready!(wait.poll(cx));
                    let (wait, parked) = waiting.take().expect(ONCE);
                    if let Some(response) = answer(me.exchange, &landing) {
                        return Poll::Ready(Ok(response));
                    }
                    me.settings.waits -= 1;
                    after(wait, &landing, me.settings.waits, parked)
                }
                StateProj::Readying(lead, parked) => {
                    let inner = &mut parked.as_mut().expect(ONCE).inner;
                    ready!(leading(lead, || inner.poll_ready(cx)))?;
                    let lead = lead.take();
                    let Parked { mut inner, request } = parked.take().expect(ONCE);
                    State::Calling(inner.call(request), lead)
                }
                StateProj::Calling(call, lead) => {
                    let result = ready!(leading(lead, || call.poll(cx)));
                    if lead.is_none() {
                        return Poll::Ready(result.map(|response| me.exchange.pass(response)));
                    }
                    let lead = lead.take();
                    let collect = me.exchange.collect(result, me.settings.max_body);
                    State::Collecting(collect, lead)
                }
                StateProj::Collecting(collect, lead) => {
                    let (result, end) = ready!(leading(lead, || collect.poll(cx)));
                    if let Some(lead) = lead.take() {
                        lead.land(|| landing(me.exchange, me.settings, &result, &end));
                    }
                    return Poll::Ready(result);
                }
            };
            me.state.set(next);
        }
    }
}

const ONCE: &str = "not polled after completion";

/// Polls while nobody leads: a panic ends the flight, and those who wait are left to themselves at once.
fn leading<K: Hash + Eq, T>(lead: &mut Option<Lead<K>>, poll: impl FnOnce() -> T) -> T {
    let held = lead.take();
    let polled = poll();
    *lead = held;
    polled
}

/// Makes a response of what another shared.
fn answer<T, E, X: ShareResponse<T, E>>(
    exchange: &X,
    landing: &Landing<Answer>,
) -> Option<X::Response> {
    let Landing::Shared(answer) = landing else {
        return None;
    };
    // `None` if one layer stands around services with different responses, whose keys are equal all the same.
    let kept = answer.downcast_ref::<X::Shared>()?;
    Some(exchange.copy(kept))
}

/// What one does who has waited in vain.
fn after<S, K, X, Req>(
    wait: Wait<K>,
    landing: &Landing<Answer>,
    waits: usize,
    parked: Parked<S, Req>,
) -> State<S, K, X, Req>
where
    S: Service<Req>,
    K: Hash + Eq,
    X: ShareResponse<S::Response, S::Error>,
{
    if matches!(landing, Landing::Alone | Landing::Shared(_)) {
        return State::Readying(None, Some(parked));
    }
    match wait.rejoin() {
        Joined::Lead(lead) => State::Readying(Some(lead), Some(parked)),
        Joined::Wait(wait) if waits > 0 => State::Waiting(Some((wait, parked))),
        Joined::Wait(_) => State::Readying(None, Some(parked)),
    }
}

/// How the flight of a call ends that got this result.
fn landing<T, E, X: ShareResponse<T, E>>(
    exchange: &X,
    settings: &Settings,
    result: &Result<X::Response, E>,
    end: &CallEnd,
) -> Landing<Answer> {
    match result {
        Ok(response) if settings.share.shares(end) => match exchange.share(response) {
            Some(kept) => Landing::Shared(Arc::new(kept)),
            None => Landing::Alone,
        },
        _ => Landing::Failed,
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
