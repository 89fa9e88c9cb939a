//! What layers need that give one answer to more than one call: a key for each request, and a response that can be copied.

use std::{
    fmt,
    future::{Ready, ready},
    hash::Hash,
    marker::PhantomData,
};

use crate::{CallEnd, Classify, InspectResult, PlainExchange};

/// Gives one response to more than one caller.
#[diagnostic::on_unimplemented(
    message = "a response of type `{T}` cannot be given to more than one caller",
    label = "this protocol cannot copy the service's response",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "a plain response has to be `Clone + Send + Sync`; the body of an HTTP response has to be `Unpin`"
)]
pub trait ShareResponse<T, E> {
    /// What each caller gets.
    type Response;

    /// What copies are made of.
    type Shared: Send + Sync + 'static;

    /// Reads a response as far as it takes to copy it.
    type Collect: Future<Output = (Result<Self::Response, E>, CallEnd)>;

    /// Passes a response on to its only caller, unread.
    fn pass(&self, response: T) -> Self::Response;

    /// Reads the result of a call, up to `limit` bytes of its body, and tells how the call ended, as far as it was read.
    fn collect(&self, result: Result<T, E>, limit: usize) -> Self::Collect;

    /// Keeps what further responses can be made of. `None` if the response is not there as a whole, or says that it is not for
    /// others.
    fn share(&self, response: &Self::Response) -> Option<Self::Shared>;

    /// Makes a further response.
    fn copy(&self, kept: &Self::Shared) -> Self::Response;

    /// Returns the bytes of what is kept, as far as the protocol can tell.
    fn size(&self, kept: &Self::Shared) -> usize;
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
    fn copy(&self, kept: &T) -> T {
        kept.clone()
    }

    #[inline(always)]
    fn size(&self, _kept: &T) -> usize {
        size_of::<T>()
    }
}

/// What a layer finds keys by, whatever the requests.
pub trait KeyType {
    /// The key.
    type Key: Hash + Eq + Send + Sync + 'static;
}

/// Finds the key of a request by a function; requests with equal keys may be given the same answer.
pub struct KeyFn<F, K> {
    find: F,
    key: PhantomData<fn() -> K>,
}

impl<F, K> KeyFn<F, K> {
    /// Finds keys by `find`, which returns `None` for a request whose answer is for nobody else.
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
