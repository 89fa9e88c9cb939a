//! Traits for layers that give one response to several callers: a key for each request, and a response that can be copied.

use std::{
    fmt,
    future::{Ready, ready},
    hash::Hash,
    marker::PhantomData,
    sync::Arc,
};

use crate::{CallEnd, Classify, InspectResult, Outcome, PlainExchange};

/// Copies responses, for layers that give one response to several callers, such as a cache.
#[diagnostic::on_unimplemented(
    message = "a response of type `{T}` cannot be given to more than one caller",
    label = "this protocol cannot copy the service's response",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "a plain response has to be `Clone + Send + Sync`; the body of an HTTP response has to be `Unpin`"
)]
pub trait ShareResponse<T, E> {
    /// The response that each caller gets.
    type Response;

    /// The form of a response from which copies are made.
    type Shared: Send + Sync + 'static;

    /// The future that reads a response so far that it can be copied.
    type Collect: Future<Output = (Result<Self::Response, E>, CallEnd)>;

    /// Converts a response for its only caller, without reading it.
    fn pass(&self, response: T) -> Self::Response;

    /// Reads the result of a call, with up to `limit` bytes of its body, and returns the end of the call as far as it was read.
    fn collect(&self, result: Result<T, E>, limit: usize) -> Self::Collect;

    /// Makes the form from which copies are made; `None` if the response was not read to its end, or is private to its caller.
    fn share(&self, response: &Self::Response) -> Option<Self::Shared>;

    /// Makes a copy of the response.
    fn copy(&self, shared: &Self::Shared) -> Self::Response;

    /// Returns the size in bytes, as far as the protocol knows it.
    fn size(&self, shared: &Self::Shared) -> usize;
}

impl<T, E, C> ShareResponse<T, E> for PlainExchange<C>
where
    T: Clone + Send + Sync + 'static,
    C: Classify<T, E>,
{
    type Response = T;
    type Shared = T;
    type Collect = Ready<(Result<T, E>, CallEnd)>;

    #[inline(always)]
    fn pass(&self, response: T) -> T {
        response
    }

    #[inline(always)]
    fn collect(&self, result: Result<T, E>, _limit: usize) -> Self::Collect {
        let end = self.inspect(&result);
        ready((result, end))
    }

    #[inline(always)]
    fn share(&self, response: &T) -> Option<T> {
        Some(response.clone())
    }

    #[inline(always)]
    fn copy(&self, shared: &T) -> T {
        shared.clone()
    }

    #[inline(always)]
    fn size(&self, _shared: &T) -> usize {
        size_of::<T>()
    }
}

/// The condition under which one response is given to several callers. A rejection never is: it is for its own caller.
#[doc(hidden)]
#[derive(Clone)]
pub enum ShareCondition {
    /// Responses with one of these outcomes.
    Outcomes(&'static [Outcome]),
    /// Responses for which the function returns true.
    Custom(Arc<dyn Fn(&CallEnd) -> bool + Send + Sync>),
}

impl ShareCondition {
    /// Returns true if the response of a call with this end may be given to several callers.
    #[must_use]
    pub fn allows(&self, end: &CallEnd) -> bool {
        end.rejection_reason().is_none()
            && match self {
                Self::Outcomes(outcomes) => outcomes.contains(&end.outcome()),
                Self::Custom(allows) => allows(end),
            }
    }
}

impl fmt::Debug for ShareCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outcomes(outcomes) => f.debug_tuple("Outcomes").field(outcomes).finish(),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// The type of the keys of a [`KeyFn`], independent of the type of the requests.
#[doc(hidden)]
pub trait KeyType {
    /// The key.
    type Key: Hash + Eq + Send + Sync + 'static;
}

/// A function that returns the key of a request. Requests with equal keys may get the same response.
pub struct KeyFn<F, K> {
    find: F,
    key: PhantomData<fn() -> K>,
}

impl<F, K> KeyFn<F, K> {
    /// Makes a key function; `None` is for a request with a response that no other request may get.
    pub fn new<Req>(find: F) -> Self
    where
        F: Fn(&Req) -> Option<K>,
    {
        Self {
            find,
            key: PhantomData,
        }
    }

    /// Returns the key of a request.
    #[inline(always)]
    pub fn key<Req>(&self, request: &Req) -> Option<K>
    where
        F: Fn(&Req) -> Option<K>,
    {
        (self.find)(request)
    }
}

impl<F, K: Hash + Eq + Send + Sync + 'static> KeyType for KeyFn<F, K> {
    type Key = K;
}

impl<F: Clone, K> Clone for KeyFn<F, K> {
    fn clone(&self) -> Self {
        Self {
            find: self.find.clone(),
            key: PhantomData,
        }
    }
}

impl<F, K> fmt::Debug for KeyFn<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFn")
    }
}
