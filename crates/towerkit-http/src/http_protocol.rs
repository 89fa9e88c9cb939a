use std::marker::PhantomData;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use towerkit_core::{
    DescribeRequest, InFlightCall, Outcome, PolicyShape, Protocol, ProtocolKind, RejectCall,
    Rejection, RejectionReason, Status, TrackResponse,
};

use crate::{
    ByStatus, ClassifyHead, CommonErrors, InspectError, OperationFn, OperationName, RequestHead,
    ResponseBodies, ResponseHead, TrackedBodies, Unmatched, grpc, headers,
    outcome::{code_if_any, code_of, outcome_of_code, status_of},
    rejection_response, response_bodies,
    tracked_body::{CallProgress, UNKNOWN_LENGTH},
};

/// Reads calls as HTTP, and as gRPC if both the request and the response have its content type.
///
/// | type parameter | decides | set by |
/// |---|---|---|
/// | `C` | the outcome, by the head of the response ([`ByStatus`]) | [`classify`](Self::classify) |
/// | `O` | the name of the operation ([`Unmatched`]); for gRPC it is the method | [`operation`](Self::operation) |
/// | `K` | how errors are read ([`CommonErrors`]) | [`client`](Self::client) |
/// | `W` | the type of response bodies ([`TrackedBodies`]) | `Http::axum` |
///
/// # gRPC
///
/// The response decides if a call is read as gRPC, so that a client cannot turn the response of an ordinary route into a failure by the
/// content type of its request. A rejection is a response in the protocol of the request.
///
/// A gRPC-Web response has the outcome of `grpc-status` if that is in its headers. Otherwise the code is in the last bytes of the body,
/// which are not read, and the outcome is that of the HTTP status. Layers inside of `tonic_web::GrpcWebLayer` see plain gRPC.
#[derive(Debug, Clone, Copy, Default)]
pub struct Http<C = ByStatus, O = Unmatched, K = CommonErrors, W = TrackedBodies> {
    classify: C,
    operation: O,
    errors: K,
    bodies: W,
}

impl Http {
    /// Makes the protocol with the defaults above.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            classify: ByStatus,
            operation: Unmatched,
            errors: CommonErrors,
            bodies: TrackedBodies,
        }
    }
}

#[cfg(feature = "axum")]
impl Http<ByStatus, crate::ByMatchedPath, CommonErrors, crate::AxumBodies> {
    /// Makes the protocol for layers of an axum router: operations are named by the matched route.
    ///
    /// Responses keep axum's own body if the layer does not track the end of calls, which saves axum an allocation.
    #[must_use]
    pub const fn axum() -> Self {
        Self {
            classify: ByStatus,
            operation: crate::ByMatchedPath,
            errors: CommonErrors,
            bodies: crate::AxumBodies,
        }
    }
}

impl<C, O, K, W> Http<C, O, K, W> {
    /// Classifies responses by a function; [`ByStatus`] by default. gRPC responses and rejections are not classified.
    #[must_use]
    pub fn classify<F: Fn(ResponseHead<'_>) -> Outcome>(self, classify: F) -> Http<F, O, K, W> {
        Http {
            classify,
            operation: self.operation,
            errors: self.errors,
            bodies: self.bodies,
        }
    }

    /// Names operations by a function.
    ///
    /// Names become metric labels, so that the function must return only a few different ones.
    #[must_use]
    pub fn operation<F>(self, operation: F) -> Http<C, OperationFn<F>, K, W>
    where
        F: for<'a> Fn(RequestHead<'a>) -> &'a str,
    {
        Http {
            classify: self.classify,
            operation: OperationFn(operation),
            errors: self.errors,
            bodies: self.bodies,
        }
    }

    /// Names operations by the route that axum matched, see [`ByMatchedPath`](crate::ByMatchedPath).
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn by_matched_path(self) -> Http<C, crate::ByMatchedPath, K, W> {
        Http {
            classify: self.classify,
            operation: crate::ByMatchedPath,
            errors: self.errors,
            bodies: self.bodies,
        }
    }

    /// Reads errors as those of a client, see [`ClientErrors`](crate::ClientErrors); they must implement
    /// [`Error`](std::error::Error).
    #[cfg(feature = "client")]
    #[must_use]
    pub fn client(self) -> Http<C, O, crate::ClientErrors, W> {
        self.errors(crate::ClientErrors)
    }

    /// Reads errors as [`client`](Self::client) does, if their type is [`BoxError`](towerkit_core::BoxError).
    #[cfg(feature = "client")]
    #[must_use]
    pub fn boxed_client(self) -> Http<C, O, crate::BoxedClientErrors, W> {
        self.errors(crate::BoxedClientErrors)
    }

    #[cfg(feature = "client")]
    fn errors<L>(self, errors: L) -> Http<C, O, L, W> {
        Http {
            classify: self.classify,
            operation: self.operation,
            errors,
            bodies: self.bodies,
        }
    }
}

impl<B, C, O: OperationName, K, W> DescribeRequest<Request<B>> for Http<C, O, K, W> {
    #[inline(always)]
    fn kind(&self, request: &Request<B>) -> ProtocolKind {
        if grpc::is_grpc(request) {
            ProtocolKind::Grpc
        } else {
            ProtocolKind::Http
        }
    }

    #[inline(always)]
    fn operation<'a>(&'a self, request: &'a Request<B>, kind: ProtocolKind) -> &'a str {
        match kind {
            ProtocolKind::Grpc => grpc::operation(request),
            _ => self.operation.operation(RequestHead::of(request)),
        }
    }

    fn is_routed(&self, request: &Request<B>, kind: ProtocolKind) -> bool {
        kind == ProtocolKind::Grpc || self.operation.is_routed(RequestHead::of(request))
    }

    headers::describe_request_head!(B);

    fn rejection_bytes(
        &self,
        request: &Request<B>,
        kind: ProtocolKind,
        reason: RejectionReason,
    ) -> u64 {
        if kind == ProtocolKind::Grpc || *request.method() == Method::HEAD {
            return 0;
        }
        rejection_response::problem(reason).body().len() as u64
    }

    fn rejection_status(&self, kind: ProtocolKind, reason: RejectionReason) -> Option<Status> {
        Some(match kind {
            ProtocolKind::Grpc => Status::Grpc(code_of(reason)),
            _ => Status::Http(status_of(reason).as_u16()),
        })
    }
}

/// One request and response of [`Http`]: the parts of the request on which the reading of the response depends.
#[derive(Debug, Clone, Copy)]
pub struct HttpExchange<C, K = CommonErrors, W = TrackedBodies> {
    method: MethodKind,
    is_grpc: bool,
    classify: C,
    types: PhantomData<fn() -> (K, W)>,
}

/// The methods on which the reading of a response depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MethodKind {
    Head,
    Connect,
    /// The method of gRPC-Web.
    Post,
    Other,
}

impl MethodKind {
    #[inline(always)]
    fn of(method: &Method) -> Self {
        match *method {
            Method::HEAD => Self::Head,
            Method::CONNECT => Self::Connect,
            Method::POST => Self::Post,
            _ => Self::Other,
        }
    }

    /// Returns true if a call with this status ends at the head of its response.
    ///
    /// Either there is no body (RFC 9110, section 6.4.1), or the connection becomes a tunnel or switches its protocol.
    #[inline(always)]
    fn ends_at_head(self, status: StatusCode) -> bool {
        match self {
            Self::Head => true,
            Self::Connect => matches!(status.as_u16(), 100..300 | 304),
            Self::Post | Self::Other => matches!(status.as_u16(), 100..200 | 204 | 205 | 304),
        }
    }
}

impl<B, C: Clone, O: OperationName, K, W> Protocol<Request<B>> for Http<C, O, K, W> {
    type Exchange = HttpExchange<C, K, W>;

    #[inline(always)]
    fn open(&self, request: &Request<B>, kind: ProtocolKind) -> HttpExchange<C, K, W> {
        HttpExchange {
            method: MethodKind::of(request.method()),
            is_grpc: kind == ProtocolKind::Grpc,
            classify: self.classify.clone(),
            types: PhantomData,
        }
    }
}

impl<C: ClassifyHead, K, W> HttpExchange<C, K, W> {
    /// Reads an HTTP head: by the rejection in its extensions, or by its status.
    #[inline(always)]
    fn read_http_head(&self, head: ResponseHead<'_>) -> CallProgress {
        let status = head.status;
        let reason = if status.as_u16() < 400 {
            None
        } else {
            head.extensions.get::<Rejection>().map(Rejection::reason)
        };
        let outcome = match (reason, self.web_code(head)) {
            (Some(reason), _) => reason.outcome(),
            (None, Some(code)) => outcome_of_code(code),
            (None, None) => self.classify.classify(head),
        };
        let mut progress = CallProgress::new(outcome, Some(Status::Http(status.as_u16())));
        progress.rejection_reason = reason;
        progress
    }

    /// Returns the code of a gRPC-Web response without a message, which has its code in the headers.
    #[inline(always)]
    fn web_code(&self, head: ResponseHead<'_>) -> Option<u16> {
        if self.method == MethodKind::Post && grpc::is_grpc_web_response(head) {
            code_if_any(head.headers)
        } else {
            None
        }
    }

    /// Reads the head as gRPC if both the request and the response are, and otherwise as HTTP.
    #[inline(always)]
    pub(crate) fn read_head(&self, head: ResponseHead<'_>) -> CallProgress {
        if self.is_grpc && grpc::is_grpc_response(head) {
            grpc::read_head(head)
        } else {
            self.read_http_head(head)
        }
    }

    /// Reads the head, and the length that HTTP allows or the response declares for its body.
    #[inline(always)]
    fn read_response<B: Body>(&self, response: &Response<B>) -> CallProgress {
        let head = ResponseHead::of(response);
        if self.is_grpc && grpc::is_grpc_response(head) {
            return grpc::read_head(head);
        }
        let mut progress = self.read_http_head(head);
        progress.content_length = if self.method.ends_at_head(head.status) {
            0
        } else {
            content_length(response)
        };
        progress
    }

    /// Reads the head of a response whose body is collected. Handlers make a body for a `HEAD` as well, which is never sent.
    pub(crate) fn read_ahead<B: Body>(&self, response: &Response<B>) -> CallProgress {
        let mut progress = self.read_response(response);
        if self.method.ends_at_head(response.status()) {
            progress.content_length = UNKNOWN_LENGTH;
        }
        progress
    }
}

impl<B, E, C, K, W> TrackResponse<Response<B>, E> for HttpExchange<C, K, W>
where
    B: Body,
    C: ClassifyHead,
    K: InspectError<E>,
    W: ResponseBodies<B>,
{
    type Response<R: PolicyShape> = Response<W::Body<R>>;

    #[inline(always)]
    fn track<R: PolicyShape>(
        &self,
        result: Result<Response<B>, E>,
        in_flight_call: &mut InFlightCall<R>,
    ) -> Result<Self::Response<R>, E> {
        response_bodies::track::<B, E, R, K, W>(result, in_flight_call, |response| {
            self.read_response(response)
        })
    }
}

impl<B, E, C, K, W> RejectCall<Response<B>, E> for HttpExchange<C, K, W>
where
    B: Body<Data: From<Bytes>>,
    C: ClassifyHead,
    K: InspectError<E>,
    W: ResponseBodies<B>,
{
    fn reject<R: PolicyShape>(&self, rejection: Rejection) -> Result<Self::Response<R>, E> {
        Ok(if self.is_grpc {
            rejection_response::grpc_response(rejection, W::rejection::<R>)
        } else {
            rejection_response::http_response(
                rejection,
                self.method == MethodKind::Head,
                W::rejection::<R>,
            )
        })
    }
}

/// Returns the length of a body that its head or the body itself declares.
#[inline(always)]
fn content_length<B: Body>(response: &Response<B>) -> u64 {
    headers::content_length(response.headers())
        .or_else(|| response.body().size_hint().exact())
        .unwrap_or(UNKNOWN_LENGTH)
}
