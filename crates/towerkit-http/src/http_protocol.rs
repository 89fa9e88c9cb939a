use std::{
    any::{Any, TypeId},
    net::SocketAddr,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body;
use towerkit_core::{
    Armed, ByResult, Deadline, Describe, End, Follow, Outcome, Policy, Protocol, ProtocolKind,
    Reason, Refuse, Rejection, Status, TargetUri,
};

use crate::{
    ByFunction, ByStatus, ClassifyHead, Operation, RequestHead, ResponseHead, TrackedBody,
    Unrouted,
    body::SoFar,
    client_address, fields, grpc,
    outcome::{code_of, status_of},
    refusal,
    refusal::HeaderFields,
};

/// Reads calls as HTTP, and those as gRPC whose request and response both have its content type.
///
/// A caller alone cannot choose how an answer is read: what an ordinary route answers to a request that claims to be gRPC has the
/// outcome of its HTTP status. A refusal is answered as the request asks.
///
/// Outcomes come from the status ([`ByStatus`]) and the end of the body; operations are named `unmatched` until
/// [`operation`](Self::operation) says better, and by their method where they are gRPC.
#[derive(Debug, Clone, Copy, Default)]
pub struct Http<C = ByStatus, O = Unrouted> {
    classify: C,
    operation: O,
}

impl Http {
    /// Reads calls by their status.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            classify: ByStatus,
            operation: Unrouted,
        }
    }
}

impl<C, O> Http<C, O> {
    /// Asks a function for the outcome of every response head; [`ByStatus`] by default. Not asked of gRPC and of refusals.
    #[must_use]
    pub fn classify<F: Fn(ResponseHead<'_>) -> Outcome>(self, classify: F) -> Http<F, O> {
        Http {
            classify,
            operation: self.operation,
        }
    }

    /// Asks a function for the name of the operation, which becomes a metric label: let it return few different ones.
    #[must_use]
    pub fn operation<F>(self, operation: F) -> Http<C, ByFunction<F>>
    where
        F: for<'a> Fn(RequestHead<'a>) -> &'a str,
    {
        Http {
            classify: self.classify,
            operation: ByFunction(operation),
        }
    }

    /// Names operations by the route that axum matched.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn by_matched_path(self) -> Http<C, crate::ByMatchedPath> {
        Http {
            classify: self.classify,
            operation: crate::ByMatchedPath,
        }
    }
}

impl<B, C, O: Operation> Describe<Request<B>> for Http<C, O> {
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

    fn refusal_status(&self, kind: ProtocolKind, reason: Reason) -> Option<Status> {
        Some(match kind {
            ProtocolKind::Grpc => Status::Grpc(code_of(reason)),
            _ => Status::Http(status_of(reason).as_u16()),
        })
    }
}

/// The exchange of [`Http`]: what the end of a response depends on.
#[derive(Debug, Clone, Copy)]
pub struct HttpExchange<C> {
    without_body: bool,
    is_grpc: bool,
    classify: C,
}

impl<B, C: Clone, O: Operation> Protocol<Request<B>> for Http<C, O> {
    type Exchange = HttpExchange<C>;

    #[inline(always)]
    fn open(&self, request: &Request<B>, kind: ProtocolKind) -> HttpExchange<C> {
        HttpExchange {
            without_body: *request.method() == Method::HEAD,
            is_grpc: kind == ProtocolKind::Grpc,
            classify: self.classify.clone(),
        }
    }
}

impl<C: ClassifyHead> HttpExchange<C> {
    /// Reads the head: by its refusal if it is one, otherwise by its status.
    #[inline(always)]
    fn read(&self, head: ResponseHead<'_>) -> SoFar {
        let status = head.status;
        let refused = if status.as_u16() < 400 {
            None
        } else {
            head.extensions.get::<Rejection>().map(Rejection::reason)
        };
        let outcome = match refused {
            Some(reason) => reason.outcome(),
            None => self.classify.classify(head),
        };
        let mut so_far = SoFar::new(outcome, Some(Status::Http(status.as_u16())));
        so_far.refused = refused;
        so_far
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

    /// Whether HTTP allows this response no body (RFC 9110, section 6.4.1).
    #[inline(always)]
    fn is_over_at(&self, status: StatusCode) -> bool {
        self.without_body || matches!(status.as_u16(), 100..200 | 204 | 304)
    }
}

impl<B: Body, E: 'static, C: ClassifyHead> Follow<Response<B>, E> for HttpExchange<C> {
    type Response<R: Policy + 'static> = Response<TrackedBody<B, R>>;

    #[inline(always)]
    fn follow<R: Policy>(
        &self,
        result: Result<Response<B>, E>,
        armed: &mut Armed<R>,
    ) -> Result<Self::Response<R>, E> {
        follow(result, armed, |response| {
            let head = ResponseHead::of(response);
            if self.is_grpc && grpc::answers(head) {
                return (grpc::read(head), None);
            }
            let length = if self.is_over_at(head.status) {
                Some(0)
            } else {
                length(response)
            };
            (self.read(head), length)
        })
    }
}

impl<B, E, C> Refuse<Response<B>, E> for HttpExchange<C>
where
    B: Body<Data: From<Bytes>>,
    E: 'static,
    C: ClassifyHead,
{
    fn refuse<R: Policy>(&self, rejection: Rejection) -> Result<Self::Response<R>, E> {
        Ok(if self.is_grpc {
            refusal::over_grpc(rejection)
        } else {
            refusal::over_http(rejection)
        })
    }
}

/// Follows a response to the end of its body, once `read` has told what its head says and how long its body is.
///
/// A response is some 150 bytes: this moves it once, and so stands here for both protocols.
#[inline(always)]
pub(crate) fn follow<B: Body, E: 'static, R: Policy>(
    result: Result<Response<B>, E>,
    armed: &mut Armed<R>,
    read: impl FnOnce(&Response<B>) -> (SoFar, Option<u64>),
) -> Result<Response<TrackedBody<B, R>>, E> {
    match result {
        Ok(response) if !Armed::<R>::MATTERS => Ok(response.map(TrackedBody::pass)),
        Ok(mut response) => {
            let (so_far, length) = read(&response);
            armed.head(&so_far.end());
            armed.annotate(&mut HeaderFields(response.headers_mut()));
            let is_empty = length == Some(0) && !so_far.in_trailers;
            if is_empty || response.body().is_end_stream() {
                armed.finish_with(|| so_far.without_trailers());
            }
            let armed = armed.take();
            Ok(response.map(|body| TrackedBody::follow(body, armed, so_far, length)))
        }
        Err(error) => {
            armed.finish_with(|| {
                let (outcome, refused) = ByResult::of_error(&error);
                End::new(outcome).with_refused(refused)
            });
            Err(error)
        }
    }
}

/// The length of a body, as it says itself or as the head declares.
#[inline(always)]
fn length<B: Body>(response: &Response<B>) -> Option<u64> {
    response.body().size_hint().exact().or_else(|| {
        let length = response.headers().get(header::CONTENT_LENGTH)?;
        length.to_str().ok()?.parse().ok()
    })
}
