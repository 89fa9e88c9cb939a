//! The implementation of [`ShareResponse`] for HTTP and gRPC.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Response, header, response::Parts};
use http_body::Body;
use towerkit_core::{CallEnd, ShareResponse};

use crate::{
    ClassifyHead, CollectedBody, GrpcExchange, HttpExchange, InspectError, ResponseHead,
    SharedResponse,
    collected_body::{BodyReader, ReadEnd},
    errors, grpc, request_key,
    tracked_body::CallProgress,
};

macro_rules! share_responses {
    ([$($generics:tt)*] $exchange:ty, $read:expr) => {
        impl<B: Body<Error: 'static> + Unpin, E, K: InspectError<E>, $($generics)*> ShareResponse<Response<B>, E> for $exchange {
            type Response = Response<CollectedBody<B>>;
            type Shared = SharedResponse;
            type Collect = CollectFuture<B, E>;

            fn pass(&self, response: Response<B>) -> Self::Response {
                response.map(CollectedBody::unread)
            }

            fn collect(&self, result: Result<Response<B>, E>, limit: usize) -> CollectFuture<B, E> {
                CollectFuture::new::<K>(result, limit, |response| $read(self, response))
            }

            fn share(&self, response: &Self::Response) -> Option<SharedResponse> {
                CollectedBody::share(response)
            }

            fn copy(&self, shared: &SharedResponse) -> Self::Response {
                shared.copy()
            }

            fn size(&self, shared: &SharedResponse) -> usize {
                shared.size()
            }
        }
    };
}

share_responses!([C: ClassifyHead, W] HttpExchange<C, K, W>, HttpExchange::read_ahead);
share_responses!([] GrpcExchange<K>, |_: &Self, response| grpc::read_head(ResponseHead::of(response)));

/// Reads the body of a response ahead, so that several callers may share the response.
///
/// A body that is too long, and a response that must not be shared, are returned at once and unread.
pub struct CollectFuture<B: Body, E>(Option<State<B, E>>);

enum State<B: Body, E> {
    Ended(Result<Response<CollectedBody<B>>, E>, CallEnd),
    Reading(Parts, BodyReader<B>, CallProgress),
}

impl<B: Body + Unpin, E> CollectFuture<B, E> {
    fn new<K: InspectError<E>>(
        result: Result<Response<B>, E>,
        limit: usize,
        read: impl FnOnce(&Response<B>) -> CallProgress,
    ) -> Self {
        Self(Some(match result {
            Err(error) => {
                let end = errors::call_end::<K, E>(&error);
                State::Ended(Err(error), end)
            }
            Ok(response) => {
                let progress = read(&response);
                let (head, body) = response.into_parts();
                if is_shareable(&head) && body.size_hint().lower() <= limit as u64 {
                    State::Reading(head, BodyReader::new(body, limit), progress)
                } else {
                    let body = CollectedBody::unread(body);
                    State::Ended(Ok(Response::from_parts(head, body)), progress.end())
                }
            }
        }))
    }
}

/// No field is pinned.
impl<B: Body + Unpin, E> Unpin for CollectFuture<B, E> {}

impl<B: Body<Error: 'static> + Unpin, E> Future for CollectFuture<B, E> {
    type Output = (Result<Response<CollectedBody<B>>, E>, CallEnd);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = self.0.as_mut().expect("not polled after completion");
        let read_end = match state {
            State::Ended(..) => None,
            State::Reading(_, reader, _) => Some(ready!(reader.poll(cx))),
        };
        Poll::Ready(match (self.0.take(), read_end) {
            (Some(State::Reading(head, reader, mut progress)), Some(read_end)) => {
                progress.bytes = reader.bytes();
                let end = call_end(&progress, &read_end, reader.trailers());
                let body = reader.into_body(read_end, progress.has_declared_length());
                (Ok(Response::from_parts(head, body)), end)
            }
            (Some(State::Ended(result, end)), _) => (result, end),
            _ => unreachable!("a body that is being read stops"),
        })
    }
}

fn call_end<E: 'static>(
    progress: &CallProgress,
    read_end: &ReadEnd<E>,
    trailers: Option<&HeaderMap>,
) -> CallEnd {
    match (read_end, trailers) {
        (ReadEnd::Failed(error), _) => progress.with_body_error(error),
        (ReadEnd::TooLong, _) => progress.end(),
        (ReadEnd::Complete, Some(trailers)) => progress.with_trailers(trailers),
        (ReadEnd::Complete, None) => progress.without_trailers(),
    }
}

/// Returns true if other callers may get this response: a conservative part of the rules for a shared cache (RFC 9111).
///
/// Responses are not shared if they are interim, partial, an event stream or a temporary redirect, if they set a cookie, if their
/// `Cache-Control` forbids it, or if they vary by a header that is not a part of a [`RequestKey`](crate::RequestKey).
fn is_shareable(head: &Parts) -> bool {
    let headers = &head.headers;
    let is_temporary = matches!(head.status.as_u16(), 100..200 | 206 | 302..=304 | 307);
    let is_event_stream = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    !is_temporary
        && !is_event_stream
        && !headers.contains_key(header::SET_COOKIE)
        && items(headers, header::CACHE_CONTROL).all(|item| item.is_some_and(allows_sharing))
        && items(headers, header::VARY).all(|item| item.is_some_and(request_key::is_in_key))
}

/// Returns the items of a list header; `None` for a value that is not text.
fn items(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = Option<&str>> {
    headers.get_all(name).iter().flat_map(|value| {
        let text = value.to_str();
        let invalid = text.is_err().then_some(None);
        text.unwrap_or_default().split(',').map(Some).chain(invalid)
    })
}

/// Returns true if a directive of `Cache-Control` lets a shared cache without validation store the response.
fn allows_sharing(directive: &str) -> bool {
    let name = directive.split('=').next().unwrap_or_default().trim();
    !["no-store", "no-cache", "private"]
        .iter()
        .any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}

impl<B: Body, E> fmt::Debug for CollectFuture<B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectFuture").finish_non_exhaustive()
    }
}
