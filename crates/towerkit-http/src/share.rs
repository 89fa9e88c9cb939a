//! What layers need of HTTP and gRPC that give one answer to more than one call.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Response, header, response::Parts};
use http_body::Body;
use towerkit_core::{CallEnd, ShareResponse};

use crate::{
    ClassifyHead, CollectedBody, GrpcExchange, HttpExchange, KeptResponse, ReadErrors,
    ResponseHead,
    body::SoFar,
    collected::{Reading, Stop},
    errors, grpc, request_key,
};

macro_rules! shares {
    ([$($generics:tt)*] $exchange:ty, $read:expr) => {
        impl<B: Body<Error: 'static> + Unpin, E, K: ReadErrors<E>, $($generics)*> ShareResponse<Response<B>, E> for $exchange {
            type Response = Response<CollectedBody<B>>;
            type Shared = KeptResponse;
            type Collect = Collect<B, E>;

            fn pass(&self, response: Response<B>) -> Self::Response {
                response.map(CollectedBody::unread)
            }

            fn collect(&self, result: Result<Response<B>, E>, limit: usize) -> Collect<B, E> {
                Collect::new::<K>(result, limit, |response| $read(self, response))
            }

            fn share(&self, response: &Self::Response) -> Option<KeptResponse> {
                CollectedBody::keep(response)
            }

            fn copy(&self, kept: &KeptResponse) -> Self::Response {
                kept.again()
            }

            fn size(&self, kept: &KeptResponse) -> usize {
                kept.size()
            }
        }
    };
}

shares!([C: ClassifyHead, W] HttpExchange<C, K, W>, HttpExchange::read_ahead);
shares!([] GrpcExchange<K>, |_: &Self, response| grpc::read(ResponseHead::of(response)));

/// Reads the body of a response ahead, so that the response may be given to more than one caller.
///
/// A body that is too long, and a response that says that it is not for others, is passed on at once and unread.
pub struct Collect<B: Body, E>(Option<State<B, E>>);

enum State<B: Body, E> {
    Ended(Result<Response<CollectedBody<B>>, E>, CallEnd),
    Reading(Parts, Reading<B>, SoFar),
}

impl<B: Body + Unpin, E> Collect<B, E> {
    fn new<K: ReadErrors<E>>(
        result: Result<Response<B>, E>,
        limit: usize,
        read: impl FnOnce(&Response<B>) -> SoFar,
    ) -> Self {
        Self(Some(match result {
            Err(error) => {
                let end = errors::end::<K, E>(&error);
                State::Ended(Err(error), end)
            }
            Ok(response) => {
                let so_far = read(&response);
                let (head, body) = response.into_parts();
                if is_for_others(&head) && body.size_hint().lower() <= limit as u64 {
                    State::Reading(head, Reading::new(body, limit), so_far)
                } else {
                    let body = CollectedBody::unread(body);
                    State::Ended(Ok(Response::from_parts(head, body)), so_far.end())
                }
            }
        }))
    }
}

/// Nothing in it is pinned.
impl<B: Body + Unpin, E> Unpin for Collect<B, E> {}

impl<B: Body<Error: 'static> + Unpin, E> Future for Collect<B, E> {
    type Output = (Result<Response<CollectedBody<B>>, E>, CallEnd);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = self.0.as_mut().expect("not polled after completion");
        let stop = match state {
            State::Ended(..) => None,
            State::Reading(_, reading, _) => Some(ready!(reading.poll(cx))),
        };
        Poll::Ready(match (self.0.take(), stop) {
            (Some(State::Reading(head, reading, mut so_far)), Some(stop)) => {
                so_far.bytes = reading.bytes();
                let end = end(&so_far, &stop, reading.trailers());
                let body = reading.into_body(stop, so_far.is_whole());
                (Ok(Response::from_parts(head, body)), end)
            }
            (Some(State::Ended(result, end)), _) => (result, end),
            _ => unreachable!("a body that is being read stops"),
        })
    }
}

fn end<E: 'static>(so_far: &SoFar, stop: &Stop<E>, trailers: Option<&HeaderMap>) -> CallEnd {
    match (stop, trailers) {
        (Stop::Broken(error), _) => so_far.broken(error),
        (Stop::Full, _) => so_far.end(),
        (Stop::Over, Some(trailers)) => so_far.with_trailers(trailers),
        (Stop::Over, None) => so_far.without_trailers(),
    }
}

/// Whether others than the caller may have this answer: a part of what RFC 9111 asks of a shared cache, on the safe side.
///
/// Not one that is interim, partial, endless or a redirect for now, which may be made up for one caller; that sets a cookie; that
/// its `Cache-Control` keeps from caches; or that varies by a field which is no part of a [`RequestKey`](crate::RequestKey).
fn is_for_others(head: &Parts) -> bool {
    let headers = &head.headers;
    let is_passing = matches!(head.status.as_u16(), 100..200 | 206 | 302..=304 | 307);
    let is_endless = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    !is_passing
        && !is_endless
        && !headers.contains_key(header::SET_COOKIE)
        && items(headers, header::CACHE_CONTROL).all(|item| item.is_some_and(is_open))
        && items(headers, header::VARY).all(|item| item.is_some_and(request_key::covers))
}

/// The items of a field that is a list; `None` for a value that is not text.
fn items(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = Option<&str>> {
    headers.get_all(name).iter().flat_map(|value| {
        let text = value.to_str();
        let unread = text.is_err().then_some(None);
        text.unwrap_or_default().split(',').map(Some).chain(unread)
    })
}

/// Whether a directive leaves an answer to a shared cache that cannot validate.
fn is_open(directive: &str) -> bool {
    let name = directive.split('=').next().unwrap_or_default().trim();
    !["no-store", "no-cache", "private"]
        .iter()
        .any(|closed| name.eq_ignore_ascii_case(closed))
}

impl<B: Body, E> fmt::Debug for Collect<B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collect").finish_non_exhaustive()
    }
}
