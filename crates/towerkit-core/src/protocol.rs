use std::{convert::Infallible, error::Error};

use crate::{
    CallEnd, DescribeRequest, InFlightCall, Policy, PolicyShape, ProtocolKind, Rejection,
    RejectionReason, causes,
};

/// Any error, boxed: the error type of most plain towers, which can carry a rejection.
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
pub trait Protocol<Req>: DescribeRequest<Req> {
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
pub trait TrackResponse<T, E> {
    /// The response that carries what the policies hold to the end of the call.
    type Response<R: PolicyShape>;

    /// Reads the outcome where it is known, and sees to it that the call is finished at its end: here, or by what the response
    /// takes along.
    ///
    /// # Errors
    ///
    /// The service's own error, unchanged.
    fn track<R: PolicyShape>(
        &self,
        result: Result<T, E>,
        in_flight_call: &mut InFlightCall<R>,
    ) -> Result<Self::Response<R>, E>;
}

/// Answers a rejected call: what guards need besides.
#[diagnostic::on_unimplemented(
    message = "a rejected call cannot be answered here: the service's response is `{T}`, its error `{E}`",
    label = "no way to reject a call",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "for a service of your own, implement `towerkit_core::CarriesRejection` for its error type, or use `towerkit_core::BoxError`"
)]
pub trait RejectCall<T, E>: TrackResponse<T, E> {
    /// Makes the answer to a rejected call.
    ///
    /// # Errors
    ///
    /// The service's error that carries the rejection, where the protocol has no response for it.
    fn reject<R: PolicyShape>(&self, rejection: Rejection) -> Result<Self::Response<R>, E>;

    /// Returns the reason, if an error is a rejection by a layer further in.
    ///
    /// Needed only where errors carry rejections; a protocol that has a response for them finds them there.
    #[inline(always)]
    fn rejection_reason(&self, _error: &E) -> Option<RejectionReason> {
        None
    }
}

/// Answers what a policy stack may reject with, which is nothing at all for a policy stack of observers.
#[diagnostic::on_unimplemented(
    message = "a rejected call cannot be answered here: the service's response is `{T}`, its error `{E}`",
    label = "no way to reject a call",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "for a service of your own, implement `towerkit_core::CarriesRejection` for its error type, or use `towerkit_core::BoxError`"
)]
pub trait RejectWith<T, E, Q>: TrackResponse<T, E> {
    /// Makes the answer to a rejected call.
    ///
    /// # Errors
    ///
    /// The service's error that carries the rejection, where the protocol has no response for it.
    fn reject_with<R: PolicyShape>(&self, rejection: Q) -> Result<Self::Response<R>, E>;

    /// Follows an admitted call, and recognises a rejection further in by all that the service's types can tell.
    ///
    /// # Errors
    ///
    /// The service's own error, unchanged.
    #[inline(always)]
    fn track_result<R: PolicyShape>(
        &self,
        result: Result<T, E>,
        in_flight_call: &mut InFlightCall<R>,
    ) -> Result<Self::Response<R>, E> {
        self.track(result, in_flight_call)
    }
}

impl<X: TrackResponse<T, E>, T, E> RejectWith<T, E, Infallible> for X {
    fn reject_with<R: PolicyShape>(&self, rejection: Infallible) -> Result<Self::Response<R>, E> {
        match rejection {}
    }
}

/// Finishes a call that was rejected further in.
#[cold]
#[inline(never)]
fn finish_if_rejected<X: RejectCall<T, E>, T, E, R: Policy>(
    exchange: &X,
    error: &E,
    in_flight_call: &mut InFlightCall<R>,
) {
    if let Some(reason) = exchange.rejection_reason(error) {
        in_flight_call.finish(&CallEnd::rejected_for(reason));
    }
}

impl<X: RejectCall<T, E>, T, E> RejectWith<T, E, Rejection> for X {
    #[inline(always)]
    fn reject_with<R: PolicyShape>(&self, rejection: Rejection) -> Result<Self::Response<R>, E> {
        self.reject(rejection)
    }

    #[inline(always)]
    fn track_result<R: PolicyShape>(
        &self,
        result: Result<T, E>,
        in_flight_call: &mut InFlightCall<R>,
    ) -> Result<Self::Response<R>, E> {
        if InFlightCall::<R>::IS_TRACKED
            && let Err(error) = &result
        {
            finish_if_rejected(self, error, in_flight_call);
        }
        self.track(result, in_flight_call)
    }
}

/// An error type that can carry a rejection, and be asked for it by the layers outside.
///
/// ```
/// use towerkit_core::{CarriesRejection, Rejection};
///
/// enum StoreError { Rejected(Rejection), Missing }
///
/// impl CarriesRejection for StoreError {
///     fn from_rejection(rejection: Rejection) -> Self {
///         Self::Rejected(rejection)
///     }
///     fn rejection(&self) -> Option<&Rejection> {
///         match self {
///             Self::Rejected(rejection) => Some(rejection),
///             Self::Missing => None,
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the error type `{Self}` cannot carry a towerkit rejection",
    label = "a guard has no way to reject a call of this service",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "for any other service: implement `towerkit_core::CarriesRejection` for an error type of your own, or use `towerkit_core::BoxError`"
)]
pub trait CarriesRejection {
    /// Wraps a rejection.
    fn from_rejection(rejection: Rejection) -> Self;

    /// Returns the rejection, if this error is one.
    fn rejection(&self) -> Option<&Rejection>;
}

impl CarriesRejection for Rejection {
    fn from_rejection(rejection: Rejection) -> Self {
        rejection
    }

    fn rejection(&self) -> Option<&Rejection> {
        Some(self)
    }
}

impl CarriesRejection for BoxError {
    fn from_rejection(rejection: Rejection) -> Self {
        Box::new(rejection)
    }

    fn rejection(&self) -> Option<&Rejection> {
        causes(self.as_ref()).find_map(|cause| cause.downcast_ref())
    }
}

/// How calls are read is not said yet: add `.http()`, `.grpc()` or `.plain("operation")`.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct NoProtocol;
