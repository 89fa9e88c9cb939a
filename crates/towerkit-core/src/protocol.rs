use std::{convert::Infallible, error::Error};

use crate::{Armed, Describe, End, Policy, ProtocolKind, Reason, Rejection, Shape, causes};

/// Any error, boxed: the error type of most plain towers, which can carry a refusal.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// How calls are read: where a request says what it wants, and when a call is over.
///
/// [`Plain`](crate::Plain) reads a service without a wire protocol; `towerkit-http` has `Http` and `Grpc`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not read requests of type `{Req}`",
    label = "how this layer reads calls is not said, or does not fit these requests",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "for any other service add `.plain(\"operation\")` to the layer (`use towerkit_core::LayerExt`)"
)]
pub trait Protocol<Req>: Describe<Req> {
    /// What is kept of the request until its response is there.
    type Exchange;

    /// Opens an exchange: takes from the request what the reading of its response depends on.
    fn open(&self, request: &Req, kind: ProtocolKind) -> Self::Exchange;
}

/// Follows an admitted call to its end: all that observers need.
#[diagnostic::on_unimplemented(
    message = "towerkit cannot tell how a call ends whose response is `{T}` and whose error is `{E}`",
    label = "this protocol does not understand the service's response",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)"
)]
pub trait Follow<T, E> {
    /// The response that carries what the roles hold to the end of the call.
    type Response<R: Shape>;

    /// Reads the outcome where it is known, and sees to it that the call is finished at its end: here, or by what the response
    /// takes along.
    ///
    /// # Errors
    ///
    /// The service's own error, unchanged.
    fn follow<R: Shape>(
        &self,
        result: Result<T, E>,
        armed: &mut Armed<R>,
    ) -> Result<Self::Response<R>, E>;
}

/// Answers a refused call: what guards need besides.
#[diagnostic::on_unimplemented(
    message = "a refused call cannot be answered here: the service's response is `{T}`, its error `{E}`",
    label = "no way to refuse a call",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "for a service of your own, implement `towerkit_core::Refusable` for its error type, or use `towerkit_core::BoxError`"
)]
pub trait Refuse<T, E>: Follow<T, E> {
    /// Makes the answer to a refused call.
    ///
    /// # Errors
    ///
    /// The service's error that carries the rejection, where the protocol has no response for it.
    fn refuse<R: Shape>(&self, rejection: Rejection) -> Result<Self::Response<R>, E>;

    /// Returns the reason, if an error is a refusal by a layer further in.
    ///
    /// Needed only where errors carry refusals; a protocol that has a response for them finds them there.
    #[inline(always)]
    fn refused(&self, _error: &E) -> Option<Reason> {
        None
    }
}

/// Answers what a row may refuse with, which is nothing at all for a row of observers.
#[diagnostic::on_unimplemented(
    message = "a refused call cannot be answered here: the service's response is `{T}`, its error `{E}`",
    label = "no way to refuse a call",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "for a service of your own, implement `towerkit_core::Refusable` for its error type, or use `towerkit_core::BoxError`"
)]
pub trait Answer<T, E, Refusal>: Follow<T, E> {
    /// Makes the answer to a refused call.
    ///
    /// # Errors
    ///
    /// The service's error that carries the rejection, where the protocol has no response for it.
    fn answer<R: Shape>(&self, refusal: Refusal) -> Result<Self::Response<R>, E>;

    /// Follows an admitted call, and recognises a refusal further in by all that the service's types can tell.
    ///
    /// # Errors
    ///
    /// The service's own error, unchanged.
    #[inline(always)]
    fn conclude<R: Shape>(
        &self,
        result: Result<T, E>,
        armed: &mut Armed<R>,
    ) -> Result<Self::Response<R>, E> {
        self.follow(result, armed)
    }
}

impl<X: Follow<T, E>, T, E> Answer<T, E, Infallible> for X {
    fn answer<R: Shape>(&self, refusal: Infallible) -> Result<Self::Response<R>, E> {
        match refusal {}
    }
}

/// Finishes a call that was refused further in.
#[cold]
#[inline(never)]
fn recognise<X: Refuse<T, E>, T, E, R: Policy>(exchange: &X, error: &E, armed: &mut Armed<R>) {
    if let Some(reason) = exchange.refused(error) {
        armed.finish(&End::refused_for(reason));
    }
}

impl<X: Refuse<T, E>, T, E> Answer<T, E, Rejection> for X {
    #[inline(always)]
    fn answer<R: Shape>(&self, refusal: Rejection) -> Result<Self::Response<R>, E> {
        self.refuse(refusal)
    }

    #[inline(always)]
    fn conclude<R: Shape>(
        &self,
        result: Result<T, E>,
        armed: &mut Armed<R>,
    ) -> Result<Self::Response<R>, E> {
        if Armed::<R>::MATTERS
            && let Err(error) = &result
        {
            recognise(self, error, armed);
        }
        self.follow(result, armed)
    }
}

/// An error type that can carry a refusal, and be asked for it by the layers outside.
///
/// ```
/// use towerkit_core::{Refusable, Rejection};
///
/// enum StoreError { Refused(Rejection), Missing }
///
/// impl Refusable for StoreError {
///     fn refused(rejection: Rejection) -> Self {
///         Self::Refused(rejection)
///     }
///     fn rejection(&self) -> Option<&Rejection> {
///         match self {
///             Self::Refused(rejection) => Some(rejection),
///             Self::Missing => None,
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the error type `{Self}` cannot carry a towerkit refusal",
    label = "a guard has no way to refuse a call of this service",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "for any other service: implement `towerkit_core::Refusable` for an error type of your own, or use `towerkit_core::BoxError`"
)]
pub trait Refusable {
    /// Wraps a refusal.
    fn refused(rejection: Rejection) -> Self;

    /// Returns the refusal, if this error is one.
    fn rejection(&self) -> Option<&Rejection>;
}

impl Refusable for Rejection {
    fn refused(rejection: Rejection) -> Self {
        rejection
    }

    fn rejection(&self) -> Option<&Rejection> {
        Some(self)
    }
}

impl Refusable for BoxError {
    fn refused(rejection: Rejection) -> Self {
        Box::new(rejection)
    }

    fn rejection(&self) -> Option<&Rejection> {
        causes(self.as_ref()).find_map(|cause| cause.downcast_ref())
    }
}

/// How calls are read is not said yet: add `.http()`, `.grpc()` or `.plain("operation")`.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Unbound;
