use std::{error::Error, fmt, marker::PhantomData};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Body;
use towerkit_core::{
    BoxError, DescribeRequest, InFlightCall, Outcome, PolicyShape, Protocol, ProtocolKind,
    RejectCall, Rejection, RejectionReason, Status, TrackResponse,
};

use crate::{
    CommonErrors, InspectError, ResponseHead, TrackedBodies, TrackedBody, headers,
    outcome::{OK, code_if_any, code_of, code_of_status, outcome_of_code},
    rejection_response, response_bodies,
    tracked_body::CallProgress,
};

/// Reads calls as gRPC.
///
/// The outcome is that of `grpc-status`, in the headers or the trailers, and of `UNKNOWN` if there is none. The operation is
/// `package.Service/Method`. `K` [inspects the errors](InspectError) of the service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grpc<K = CommonErrors>(K);

impl Grpc {
    /// Makes the protocol.
    #[must_use]
    pub const fn new() -> Self {
        Self(CommonErrors)
    }
}

#[cfg(feature = "client")]
impl<K> Grpc<K> {
    /// Reads errors as those of a client, see [`ClientErrors`](crate::ClientErrors).
    ///
    /// They must implement [`Error`](std::error::Error), as those of tonic's `Channel` do.
    #[must_use]
    pub fn client(self) -> Grpc<crate::ClientErrors> {
        Grpc(crate::ClientErrors)
    }

    /// Reads errors as [`client`](Self::client) does, if their type is [`BoxError`](towerkit_core::BoxError).
    #[must_use]
    pub fn boxed_client(self) -> Grpc<crate::BoxedClientErrors> {
        Grpc(crate::BoxedClientErrors)
    }
}

/// Returns true if a request is gRPC by its method and content type; gRPC-Web is not.
#[inline(always)]
pub(crate) fn is_grpc<B>(request: &Request<B>) -> bool {
    if *request.method() != Method::POST {
        return false;
    }
    has_content_type(request.headers())
}

/// Returns true if a response is gRPC.
#[inline]
pub(crate) fn is_grpc_response(head: ResponseHead<'_>) -> bool {
    has_content_type(head.headers)
}

/// Returns true if a response is gRPC-Web.
#[inline]
pub(crate) fn is_grpc_web_response(head: ResponseHead<'_>) -> bool {
    let value = head.headers.get(header::CONTENT_TYPE);
    value.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc-web"))
}

fn has_content_type(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    match value.as_bytes().strip_prefix(b"application/grpc") {
        Some(rest) => matches!(rest.first(), None | Some(b'+' | b';')),
        None => false,
    }
}

/// Returns the method: `package.Service/Method`.
#[inline(always)]
pub(crate) fn operation<B>(request: &Request<B>) -> &str {
    let path = request.uri().path();
    path.strip_prefix('/').unwrap_or(path)
}

impl<B, K> DescribeRequest<Request<B>> for Grpc<K> {
    #[inline(always)]
    fn kind(&self, _request: &Request<B>) -> ProtocolKind {
        ProtocolKind::Grpc
    }

    #[inline(always)]
    fn operation<'a>(&'a self, request: &'a Request<B>, _kind: ProtocolKind) -> &'a str {
        operation(request)
    }

    headers::describe_request_head!(B);

    fn rejection_status(&self, _kind: ProtocolKind, reason: RejectionReason) -> Option<Status> {
        Some(Status::Grpc(code_of(reason)))
    }
}

/// One request and response of [`Grpc`].
#[derive(Debug, Clone, Copy)]
pub struct GrpcExchange<K = CommonErrors>(PhantomData<fn() -> K>);

impl<B, K> Protocol<Request<B>> for Grpc<K> {
    type Exchange = GrpcExchange<K>;

    #[inline(always)]
    fn open(&self, _request: &Request<B>, _kind: ProtocolKind) -> GrpcExchange<K> {
        GrpcExchange(PhantomData)
    }
}

/// Reads the head of a response.
///
/// The code is that of the headers, or that of an HTTP status other than 200, or else it is in the trailers.
pub(crate) fn read_head(head: ResponseHead<'_>) -> CallProgress {
    let by_status = || (head.status != StatusCode::OK).then(|| code_of_status(head.status));
    let Some(code) = code_if_any(head.headers).or_else(by_status) else {
        let mut progress = CallProgress::new(Outcome::Success, None);
        progress.in_trailers = true;
        return progress;
    };
    let mut progress = CallProgress::new(outcome_of_code(code), Some(Status::Grpc(code)));
    if code != OK
        && let Some(reason) = rejection_reason(head.extensions)
    {
        progress.outcome = reason.outcome();
        progress.rejection_reason = Some(reason);
    }
    if code != OK && tonic_status::is_caller_gone(head.extensions) {
        progress.outcome = Outcome::Cancelled;
        progress.status = Some(Status::Grpc(CANCELLED));
    }
    progress
}

const CANCELLED: u16 = 1;

/// The cause of an error that came of a request body which broke off because the caller was gone.
///
/// An error of a server with this cause is read as a cancelled call: the caller does not get it.
#[doc(hidden)]
#[derive(Debug)]
pub struct CallerGone(BoxError);

impl CallerGone {
    /// Makes the cause from the error of the body.
    #[must_use]
    pub fn new(error: BoxError) -> Self {
        Self(error)
    }
}

impl fmt::Display for CallerGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the caller is gone")
    }
}

impl Error for CallerGone {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// Returns the reason of a rejection by an inner layer: its response has the rejection in the extensions.
fn rejection_reason(extensions: &Extensions) -> Option<RejectionReason> {
    let rejection = extensions.get().map(Rejection::reason);
    rejection.or_else(|| tonic_status::rejection_reason(extensions))
}

#[cfg(feature = "tonic")]
mod tonic_status {
    use std::error::Error;

    use http::Extensions;
    use towerkit_core::{Rejection, RejectionReason, causes};

    use super::CallerGone;

    /// Finds a rejection among the causes of the [`Status`](tonic::Status) that tonic puts into the extensions of a response. A method
    /// of a tonic server can return a rejection only as a status.
    pub(super) fn rejection_reason(extensions: &Extensions) -> Option<RejectionReason> {
        let status: &tonic::Status = extensions.get()?;
        let rejection = causes(status).find_map(<dyn Error>::downcast_ref);
        rejection.map(Rejection::reason)
    }

    pub(super) fn is_caller_gone(extensions: &Extensions) -> bool {
        let status: Option<&tonic::Status> = extensions.get();
        status.is_some_and(|status| causes(status).any(<dyn Error>::is::<CallerGone>))
    }
}

#[cfg(not(feature = "tonic"))]
mod tonic_status {
    use http::Extensions;
    use towerkit_core::RejectionReason;

    pub(super) fn rejection_reason(_extensions: &Extensions) -> Option<RejectionReason> {
        None
    }

    pub(super) fn is_caller_gone(_extensions: &Extensions) -> bool {
        false
    }
}

impl<B: Body, E: 'static, K: InspectError<E>> TrackResponse<Response<B>, E> for GrpcExchange<K> {
    type Response<R: PolicyShape> = Response<TrackedBody<B, R>>;

    fn track<R: PolicyShape>(
        &self,
        result: Result<Response<B>, E>,
        in_flight_call: &mut InFlightCall<R>,
    ) -> Result<Self::Response<R>, E> {
        response_bodies::track::<B, E, R, K, TrackedBodies>(result, in_flight_call, |response| {
            read_head(ResponseHead::of(response))
        })
    }
}

impl<B, E, K> RejectCall<Response<B>, E> for GrpcExchange<K>
where
    B: Body<Data: From<Bytes>>,
    E: 'static,
    K: InspectError<E>,
{
    fn reject<R: PolicyShape>(&self, rejection: Rejection) -> Result<Self::Response<R>, E> {
        Ok(rejection_response::grpc_response(
            rejection,
            TrackedBody::from_rejection,
        ))
    }
}
