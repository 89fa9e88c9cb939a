use std::{
    any::{Any, TypeId},
    net::SocketAddr,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Body;
use towerkit_core::{
    Armed, Deadline, Describe, Follow, Outcome, Policy, Protocol, ProtocolKind, Reason, Refuse,
    Rejection, Status, TargetUri,
};

use crate::{
    ResponseHead, TrackedBody,
    body::SoFar,
    client_address, fields, http_protocol,
    outcome::{OK, code_if_any, code_of, code_of_status, of_code},
    refusal,
};

/// Reads calls as gRPC: the outcome is `grpc-status`, in the headers or in the trailers, and `UNKNOWN` where there is none.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Grpc;

impl Grpc {
    /// Reads calls by their code.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

/// Whether a request is gRPC by its method and content type; gRPC-Web is not.
#[inline(always)]
pub(crate) fn is_grpc<B>(request: &Request<B>) -> bool {
    if *request.method() != Method::POST {
        return false;
    }
    has_content_type(request.headers())
}

/// Whether a response is gRPC.
#[inline]
pub(crate) fn answers(head: ResponseHead<'_>) -> bool {
    has_content_type(head.headers)
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

/// The method: `package.Service/Method`.
#[inline(always)]
pub(crate) fn operation<B>(request: &Request<B>) -> &str {
    let path = request.uri().path();
    path.strip_prefix('/').unwrap_or(path)
}

impl<B> Describe<Request<B>> for Grpc {
    #[inline(always)]
    fn kind(&self, _request: &Request<B>) -> ProtocolKind {
        ProtocolKind::Grpc
    }

    #[inline(always)]
    fn operation<'a>(&'a self, request: &'a Request<B>, _kind: ProtocolKind) -> &'a str {
        operation(request)
    }

    fn path<'a>(&self, request: &'a Request<B>) -> Option<&'a str> {
        Some(request.uri().path())
    }

    fn target<'a>(&self, request: &'a Request<B>) -> Option<TargetUri<'a>> {
        Some(fields::target(request))
    }

    fn peer(&self, request: &Request<B>) -> Option<SocketAddr> {
        client_address::peer(request.extensions())
    }

    fn part<'a>(&self, request: &'a Request<B>, part: TypeId) -> Option<&'a dyn Any> {
        fields::part(request, part)
    }

    #[inline(always)]
    fn method<'a>(&self, request: &'a Request<B>) -> Option<&'a str> {
        Some(request.method().as_str())
    }

    #[inline(always)]
    fn field<'a>(&self, request: &'a Request<B>, name: &str) -> Option<&'a str> {
        request.headers().get(name)?.to_str().ok()
    }

    fn each_field<'a>(&self, request: &'a Request<B>, name: &str, visit: &mut dyn FnMut(&'a [u8])) {
        fields::each(request.headers(), name, visit);
    }

    fn set_field(&self, request: &mut Request<B>, name: &'static str, value: &str) {
        fields::set(request.headers_mut(), name, value);
    }

    fn remove_field(&self, request: &mut Request<B>, name: &'static str) {
        fields::remove(request.headers_mut(), name);
    }

    fn deadline(&self, request: &Request<B>) -> Option<Deadline> {
        request.extensions().get().cloned()
    }

    fn set_deadline(&self, request: &mut Request<B>, deadline: Deadline) {
        request.extensions_mut().insert(deadline);
    }

    fn refusal_status(&self, _kind: ProtocolKind, reason: Reason) -> Option<Status> {
        Some(Status::Grpc(code_of(reason)))
    }
}

/// The exchange of [`Grpc`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct GrpcExchange;

impl<B> Protocol<Request<B>> for Grpc {
    type Exchange = GrpcExchange;

    #[inline(always)]
    fn open(&self, _request: &Request<B>, _kind: ProtocolKind) -> GrpcExchange {
        GrpcExchange
    }
}

/// Reads the head: its code if it has one, otherwise the code of a status that is not 200, otherwise wait for the trailers.
pub(crate) fn read(head: ResponseHead<'_>) -> SoFar {
    let by_status = || (head.status != StatusCode::OK).then(|| code_of_status(head.status));
    let Some(code) = code_if_any(head.headers).or_else(by_status) else {
        let mut so_far = SoFar::new(Outcome::Success, None);
        so_far.in_trailers = true;
        return so_far;
    };
    let mut so_far = SoFar::new(of_code(code), Some(Status::Grpc(code)));
    if code != OK
        && let Some(rejection) = head.extensions.get::<Rejection>()
    {
        so_far.outcome = rejection.reason().outcome();
        so_far.refused = Some(rejection.reason());
    }
    so_far
}

impl<B: Body, E: 'static> Follow<Response<B>, E> for GrpcExchange {
    type Response<R: Policy + 'static> = Response<TrackedBody<B, R>>;

    fn follow<R: Policy>(
        &self,
        result: Result<Response<B>, E>,
        armed: &mut Armed<R>,
    ) -> Result<Self::Response<R>, E> {
        http_protocol::follow(result, armed, |response| read(ResponseHead::of(response)))
    }
}

impl<B, E> Refuse<Response<B>, E> for GrpcExchange
where
    B: Body<Data: From<Bytes>>,
    E: 'static,
{
    fn refuse<R: Policy>(&self, rejection: Rejection) -> Result<Self::Response<R>, E> {
        Ok(refusal::over_grpc(rejection))
    }
}
