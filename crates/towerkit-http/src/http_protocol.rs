use std::{
    any::{Any, TypeId},
    marker::PhantomData,
    net::SocketAddr,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use towerkit_core::{
    Deadline, DescribeRequest, InFlightCall, Outcome, PolicyShape, Protocol, ProtocolKind,
    RejectCall, Rejection, RejectionReason, Status, TargetUri, TrackResponse,
};

use crate::{
    ByStatus, ClassifyHead, KnownErrors, OperationFn, OperationName, ReadErrors, RequestHead,
    ResponseBody, ResponseHead, Tracked, TrackedBody, Unrouted,
    body::{SoFar, UNDECLARED},
    client_address, errors, grpc, headers,
    outcome::{code_if_any, code_of, of_code, status_of},
    rejection,
    rejection::HeaderFields,
};

/// Reads calls as HTTP, and those as gRPC whose request and response both have its content type.
///
/// A caller alone cannot choose how an answer is read: what an ordinary route answers to a request that claims to be gRPC has the
/// outcome of its HTTP status. A rejection is answered as the request asks.
///
/// gRPC-Web is HTTP whose outcome is that of `grpc-status`, if it stands in the head. A response that has a message has its code in the
/// last bytes of the body, which are not read: such a call has the outcome of its HTTP status. Layers inside `tonic_web::GrpcWebLayer`
/// see plain gRPC.
///
/// Outcomes come from the status ([`ByStatus`]) and the end of the body; operations are named `unmatched` until
/// [`operation`](Self::operation) says better, and by their method where they are gRPC. `K` reads the errors of the service, and `W`
/// makes the bodies of responses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Http<C = ByStatus, O = Unrouted, K = KnownErrors, W = Tracked> {
    classify: C,
    operation: O,
    errors: K,
    bodies: W,
}

impl Http {
    /// Reads calls by their status.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            classify: ByStatus,
            operation: Unrouted,
            errors: KnownErrors,
            bodies: Tracked,
        }
    }
}

#[cfg(feature = "axum")]
impl Http<ByStatus, crate::ByMatchedPath, KnownErrors, crate::InAxum> {
    /// Reads calls inside of an axum router: by their status, and named by the route that axum matched.
    ///
    /// A response stays one of axum's own where the layer needs no end of its calls, which saves axum an allocation.
    #[must_use]
    pub const fn axum() -> Self {
        Self {
            classify: ByStatus,
            operation: crate::ByMatchedPath,
            errors: KnownErrors,
            bodies: crate::InAxum,
        }
    }
}

impl<C, O, K, W> Http<C, O, K, W> {
    /// Asks a function for the outcome of every response head; [`ByStatus`] by default. Not asked of gRPC and of rejections.
    #[must_use]
    pub fn classify<F: Fn(ResponseHead<'_>) -> Outcome>(self, classify: F) -> Http<F, O, K, W> {
        Http {
            classify,
            operation: self.operation,
            errors: self.errors,
            bodies: self.bodies,
        }
    }

    /// Asks a function for the name of the operation, which becomes a metric label: let it return few different ones.
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

    /// Names operations by the route that axum matched.
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

    /// Reads the errors of the service as those of a client, see [`ClientErrors`](crate::ClientErrors). They must implement
    /// [`Error`](std::error::Error).
    #[cfg(feature = "client")]
    #[must_use]
    pub fn client(self) -> Http<C, O, crate::ClientErrors, W> {
        self.errors(crate::ClientErrors)
    }

    /// Reads the errors of the service as [`client`](Self::client) does, where they are [`BoxError`](towerkit_core::BoxError)s.
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

    fn path<'a>(&self, request: &'a Request<B>) -> Option<&'a str> {
        Some(request.uri().path())
    }

    fn target<'a>(&self, request: &'a Request<B>) -> Option<TargetUri<'a>> {
        Some(headers::target(request))
    }

    fn peer(&self, request: &Request<B>) -> Option<SocketAddr> {
        client_address::peer(request.extensions())
    }

    fn part<'a>(&self, request: &'a Request<B>, part: TypeId) -> Option<&'a dyn Any> {
        headers::part(request, part)
    }

    #[inline(always)]
    fn method<'a>(&self, request: &'a Request<B>) -> Option<&'a str> {
        Some(request.method().as_str())
    }

    #[inline(always)]
    fn header<'a>(&self, request: &'a Request<B>, name: &str) -> Option<&'a str> {
        request.headers().get(name)?.to_str().ok()
    }

    fn header_values<'a>(
        &self,
        request: &'a Request<B>,
        name: &str,
        visit: &mut dyn FnMut(&'a [u8]),
    ) {
        headers::each(request.headers(), name, visit);
    }

    fn set_header(&self, request: &mut Request<B>, name: &'static str, value: &str) {
        headers::set(request.headers_mut(), name, value);
    }

    fn remove_header(&self, request: &mut Request<B>, name: &'static str) {
        headers::remove(request.headers_mut(), name);
    }

    fn deadline(&self, request: &Request<B>) -> Option<Deadline> {
        request.extensions().get().cloned()
    }

    fn set_deadline(&self, request: &mut Request<B>, deadline: Deadline) {
        request.extensions_mut().insert(deadline);
    }

    fn rejection_bytes(
        &self,
        request: &Request<B>,
        kind: ProtocolKind,
        reason: RejectionReason,
    ) -> u64 {
        if kind == ProtocolKind::Grpc || *request.method() == Method::HEAD {
            return 0;
        }
        rejection::problem(reason).body().len() as u64
    }

    fn rejection_status(&self, kind: ProtocolKind, reason: RejectionReason) -> Option<Status> {
        Some(match kind {
            ProtocolKind::Grpc => Status::Grpc(code_of(reason)),
            _ => Status::Http(status_of(reason).as_u16()),
        })
    }
}

/// The exchange of [`Http`]: what the end of a response depends on.
#[derive(Debug, Clone, Copy)]
pub struct HttpExchange<C, K = KnownErrors, W = Tracked> {
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

    /// Returns true if a response of this status is over at its head: it has no body (RFC 9110, section 6.4.1), or what follows is
    /// no longer this call's, as in a tunnel and after a switch of protocols.
    #[inline(always)]
    fn is_over_at(self, status: StatusCode) -> bool {
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
    /// Reads the head: by its rejection if it is one, otherwise by its status.
    #[inline(always)]
    fn read(&self, head: ResponseHead<'_>) -> SoFar {
        let status = head.status;
        let rejected = if status.as_u16() < 400 {
            None
        } else {
            head.extensions.get::<Rejection>().map(Rejection::reason)
        };
        let outcome = match (rejected, self.web_code(head)) {
            (Some(reason), _) => reason.outcome(),
            (None, Some(code)) => of_code(code),
            (None, None) => self.classify.classify(head),
        };
        let mut so_far = SoFar::new(outcome, Some(Status::Http(status.as_u16())));
        so_far.rejected = rejected;
        so_far
    }

    /// Returns the code of a gRPC-Web response that has no message, and so has its code in the head.
    #[inline(always)]
    fn web_code(&self, head: ResponseHead<'_>) -> Option<u16> {
        if self.method == MethodKind::Post && grpc::answers_web(head) {
            code_if_any(head.headers)
        } else {
            None
        }
    }

    /// Reads the head as HTTP, or as gRPC where the request and the response both are.
    #[inline(always)]
    pub(crate) fn read_head(&self, head: ResponseHead<'_>) -> SoFar {
        if self.is_grpc && grpc::answers(head) {
            grpc::read(head)
        } else {
            self.read(head)
        }
    }

    /// Reads the head, and how long a body HTTP allows it or it declares itself.
    #[inline(always)]
    fn read_response<B: Body>(&self, response: &Response<B>) -> SoFar {
        let head = ResponseHead::of(response);
        if self.is_grpc && grpc::answers(head) {
            return grpc::read(head);
        }
        let mut so_far = self.read(head);
        so_far.declared = if self.method.is_over_at(head.status) {
            0
        } else {
            declared(response)
        };
        so_far
    }

    /// Reads the head of a response whose body is read ahead, though it may never be sent: handlers make one for a HEAD, too.
    pub(crate) fn read_ahead<B: Body>(&self, response: &Response<B>) -> SoFar {
        let mut so_far = self.read_response(response);
        if self.method.is_over_at(response.status()) {
            so_far.declared = UNDECLARED;
        }
        so_far
    }
}

impl<B, E, C, K, W> TrackResponse<Response<B>, E> for HttpExchange<C, K, W>
where
    B: Body,
    C: ClassifyHead,
    K: ReadErrors<E>,
    W: ResponseBody<B>,
{
    type Response<R: PolicyShape> = Response<W::Of<R>>;

    #[inline(always)]
    fn track<R: PolicyShape>(
        &self,
        result: Result<Response<B>, E>,
        in_flight_call: &mut InFlightCall<R>,
    ) -> Result<Self::Response<R>, E> {
        follow::<B, E, R, K, W>(result, in_flight_call, |response| {
            self.read_response(response)
        })
    }
}

impl<B, E, C, K, W> RejectCall<Response<B>, E> for HttpExchange<C, K, W>
where
    B: Body<Data: From<Bytes>>,
    C: ClassifyHead,
    K: ReadErrors<E>,
    W: ResponseBody<B>,
{
    fn reject<R: PolicyShape>(&self, rejection: Rejection) -> Result<Self::Response<R>, E> {
        Ok(if self.is_grpc {
            rejection::over_grpc(rejection, W::rejection::<R>)
        } else {
            rejection::over_http(
                rejection,
                self.method == MethodKind::Head,
                W::rejection::<R>,
            )
        })
    }
}

/// Follows a response to the end of its body, once `read` has told all that its head says.
///
/// A response is some 150 bytes: this moves it once, and so stands here for both protocols.
#[inline(always)]
pub(crate) fn follow<B: Body, E, R: PolicyShape, K: ReadErrors<E>, W: ResponseBody<B>>(
    result: Result<Response<B>, E>,
    in_flight_call: &mut InFlightCall<R>,
    read: impl FnOnce(&Response<B>) -> SoFar,
) -> Result<Response<W::Of<R>>, E> {
    match result {
        Ok(response) if !InFlightCall::<R>::IS_TRACKED => {
            Ok(response.map(|body| W::wrap(body, TrackedBody::pass)))
        }
        Ok(mut response) => {
            let so_far = read(&response);
            in_flight_call.on_response_head(&so_far.end());
            in_flight_call.add_response_headers(&mut HeaderFields(response.headers_mut()));
            if so_far.declared == 0 || response.body().is_end_stream() {
                in_flight_call.finish_with(|| so_far.without_trailers());
            }
            let in_flight_call = in_flight_call.take();
            let track = |body| TrackedBody::follow(body, in_flight_call, so_far);
            Ok(response.map(|body| W::wrap(body, track)))
        }
        Err(error) => {
            in_flight_call.finish_with(|| errors::end::<K, E>(&error));
            Err(error)
        }
    }
}

/// The length of a body, as the head declares it or as it says itself.
#[inline(always)]
fn declared<B: Body>(response: &Response<B>) -> u64 {
    headers::content_length(response.headers())
        .or_else(|| response.body().size_hint().exact())
        .unwrap_or(UNDECLARED)
}
