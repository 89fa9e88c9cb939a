use std::convert::Infallible;

use crate::{
    BoxError, CallEnd, DescribeRequest, InFlightCall, Policy, PolicyShape, ProtocolKind, Rejection,
    RejectionReason, causes,
};

/// Reads requests and responses for a layer: the operation, the outcome, and the end of a call.
///
/// [`Plain`](crate::Plain) is the protocol of services without a wire protocol; `towerkit-http` has `Http` and `Grpc`. Choose it by
/// [`LayerExt`](crate::LayerExt).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not read requests of type `{Req}`",
    label = "this layer has no protocol yet, or one that does not fit these requests",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "for an endpoint add `.rpc()` to the layer (`use towerkit_endpoint::RpcExt`)",
    note = "for any other service add `.plain(\"operation\")` to the layer (`use towerkit_core::LayerExt`)"
)]
pub trait Protocol<Req>: DescribeRequest<Req> {
    /// The part of the request that is needed to read its response.
    type Exchange;

    /// Opens an exchange: copies from the request everything that is needed to read its response.
    fn open(&self, request: &Req, kind: ProtocolKind) -> Self::Exchange;
}

/// Tracks an admitted call to its end.
#[diagnostic::on_unimplemented(
    message = "towerkit cannot tell how a call ends whose response is `{T}` and whose error is `{E}`",
    label = "this protocol does not understand the service's response",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)"
)]
pub trait TrackResponse<T, E> {
    /// The response, which contains the [`InFlightCall`] if the call ends with the response body.
    type Response<R: PolicyShape>;

    /// Reads the outcome, and finishes the call: at once, or at the end of the response body, by moving the [`InFlightCall`] into
    /// it.
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

/// Makes the response, or the error, of a rejected call.
#[diagnostic::on_unimplemented(
    message = "a rejected call cannot be answered here: the service's response is `{T}`, its error `{E}`",
    label = "no way to reject a call",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "for a service of your own, implement `towerkit_core::CarriesRejection` for its error type, or use `towerkit_core::BoxError`"
)]
pub trait RejectCall<T, E>: TrackResponse<T, E> {
    /// Makes the response to a rejected call.
    ///
    /// # Errors
    ///
    /// The service's error that carries the rejection, where the protocol has no response for it.
    fn reject<R: PolicyShape>(&self, rejection: Rejection) -> Result<Self::Response<R>, E>;

    /// Returns the reason if an error is a rejection by an inner layer.
    ///
    /// A protocol that has a response for rejections reads the reason from the response, and does not need this method.
    #[inline(always)]
    fn rejection_reason(&self, _error: &E) -> Option<RejectionReason> {
        None
    }
}

/// Makes the response to a rejection of type `Q`: [`Rejection`], or [`Infallible`] for a stack of observers, which needs no
/// [`RejectCall`].
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a rejected call cannot be answered here: the service's response is `{T}`, its error `{E}`",
    label = "no way to reject a call",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "for a service of your own, implement `towerkit_core::CarriesRejection` for its error type, or use `towerkit_core::BoxError`"
)]
pub trait RejectWith<T, E, Q>: TrackResponse<T, E> {
    /// Makes the response to a rejected call.
    ///
    /// # Errors
    ///
    /// The service's error that carries the rejection, where the protocol has no response for it.
    fn reject_with<R: PolicyShape>(&self, rejection: Q) -> Result<Self::Response<R>, E>;

    /// Tracks an admitted call, and finds a rejection by an inner layer in its error.
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

/// Finishes a call that an inner layer has rejected.
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

/// An error type that can contain a [`Rejection`], so that outer layers find it.
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
    /// Makes an error of a rejection.
    fn from_rejection(rejection: Rejection) -> Self;

    /// Returns the rejection, if the error is one.
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

/// The protocol of a layer before one is chosen by `.http()`, `.grpc()` or [`.plain("operation")`](crate::LayerExt::plain). It
/// reads no requests.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct NoProtocol;
