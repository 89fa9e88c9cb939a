use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header,
};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use pin_project::pin_project;
use tower::util::Oneshot;
use tower_service::Service;
use towerkit_core::BoxError;
use towerkit_http::Problem;

use crate::{
    activity::{Activity, InFlight},
    head_check::HeadLimits,
    request_body::{RequestBody, SharedBody},
    response_body::ResponseBody,
    unread_body::{MAX_UNREAD, UnreadBody},
};

/// The service of one connection, as hyper calls it: checks heads, and counts calls until the end of their response bodies.
pub(crate) struct CallService<S> {
    pub(crate) inner: S,
    pub(crate) activity: Arc<Activity>,
    /// Inserted into each request.
    pub(crate) extensions: Extensions,
    pub(crate) head_limits: HeadLimits,
    pub(crate) body_timeout: Duration,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for CallService<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>> + Clone,
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = Infallible;
    type Future = CallFuture<S>;

    fn call(&self, request: Request<Incoming>) -> CallFuture<S> {
        let call = InFlight::begin(&self.activity);
        let is_http2 = request.version() == Version::HTTP_2;
        let method = MethodKind::of(request.method());
        let mut body_state = None;
        let state = match self.head_limits.check(&request) {
            Err(problem) => CallState::Rejected(Some(problem)),
            Ok(seen) => {
                let is_grpc = seen.content_type.is_some_and(is_grpc);
                let has_expect = seen.has_expect;
                let (mut parts, body) = request.into_parts();
                if parts.extensions.is_empty() {
                    parts.extensions = self.extensions.clone();
                } else {
                    parts.extensions.extend(self.extensions.clone());
                }
                let body = if is_grpc || body.is_end_stream() {
                    RequestBody::unlimited(body)
                } else {
                    let is_read =
                        !is_http2 && !has_expect && body.size_hint().lower() <= MAX_UNREAD;
                    let shared = body_state.insert(SharedBody::new(is_read));
                    RequestBody::limited(body, self.body_timeout, shared.clone())
                };
                let request = Request::from_parts(parts, body);
                CallState::Running(Oneshot::new(self.inner.clone(), request))
            }
        };
        CallFuture {
            state,
            result: None,
            call: Some(call),
            body_state,
            unread: None,
            method,
            is_http2,
        }
    }
}

/// The methods to which the same response means something else.
#[derive(Debug, Clone, Copy, PartialEq)]
enum MethodKind {
    Connect,
    Head,
    Other,
}

impl MethodKind {
    fn of(method: &Method) -> Self {
        match *method {
            Method::CONNECT => Self::Connect,
            Method::HEAD => Self::Head,
            _ => Self::Other,
        }
    }

    /// Returns true if a response turns its connection into a tunnel.
    fn is_tunneled_by(self, status: StatusCode) -> bool {
        status == StatusCode::SWITCHING_PROTOCOLS || self == Self::Connect && status.is_success()
    }
}

/// One call, from the head of its request to the head of its response.
#[pin_project]
pub(crate) struct CallFuture<S: Service<Request<RequestBody>>> {
    // The order of drops: the call ends after its future.
    #[pin]
    state: CallState<S>,
    /// The response, while the rest of the request body is read.
    result: Option<Result<S::Response, Problem>>,
    call: Option<InFlight>,
    body_state: Option<SharedBody>,
    unread: Option<UnreadBody>,
    method: MethodKind,
    is_http2: bool,
}

#[pin_project(project = CallStateProjection)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all calls are in the large variant"
)]
enum CallState<S: Service<Request<RequestBody>>> {
    Running(#[pin] Oneshot<S, Request<RequestBody>>),
    Rejected(Option<Problem>),
    Answered,
}

impl<S, B> CallFuture<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>>,
{
    /// Polls the service for its response.
    fn poll_service(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<B>, Problem>> {
        let mut this = self.project();
        let result = match this.state.as_mut().project() {
            CallStateProjection::Running(running) => {
                // A panic ends its call, and neither its connection nor the other calls on it.
                let polled = catch_unwind(AssertUnwindSafe(|| running.poll(cx)));
                let result = match polled {
                    Ok(polled) => ready!(polled).ok(),
                    Err(_) => None,
                };
                // The service has seen its error, and the panic hook the panic; the client must not.
                result.ok_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR))
            }
            CallStateProjection::Rejected(problem) => {
                Err(problem.take().expect("polled until it is ready"))
            }
            CallStateProjection::Answered => unreachable!("polled until it is ready"),
        };
        // Drops the body of the request, if the service still has it.
        this.state.set(CallState::Answered);
        let has_stalled = this
            .body_state
            .as_ref()
            .is_some_and(SharedBody::has_stalled);
        Poll::Ready(match result {
            // A success stands: the service did not need the rest.
            Ok(response) if has_stalled && is_error(response.status()) => {
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT))
            }
            Err(_) if has_stalled => Err(Problem::new(StatusCode::REQUEST_TIMEOUT)),
            result => {
                let unread = this.body_state.as_ref().and_then(SharedBody::take_unread);
                *this.unread = unread.map(UnreadBody::new);
                result
            }
        })
    }
}

impl<S, B> Future for CallFuture<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Output = Result<Response<ResponseBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.result.is_none() {
            let result = ready!(self.as_mut().poll_service(cx));
            *self.as_mut().project().result = Some(result);
        }
        let this = self.project();
        if let Some(unread) = this.unread {
            ready!(unread.poll(cx));
        }
        let result = this.result.take().expect("polled until it is ready");
        let mut call = this.call.take().expect("polled until it is ready");
        let response = match result {
            Ok(response) => {
                // A body of a known length is no stream.
                let has_length = response.body().size_hint().exact().is_some();
                call.set_answered(!has_length && is_stream(response.headers()));
                if this.method.is_tunneled_by(response.status()) {
                    call.set_tunneled();
                }
                response.map(|body| ResponseBody::of_service(body, call, *this.is_http2))
            }
            Err(problem) => {
                call.set_answered(false);
                rejection(problem, *this.method, *this.is_http2)
                    .map(|body| ResponseBody::of_server(body, call, *this.is_http2))
            }
        };
        Poll::Ready(Ok(response))
    }
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn rejection(problem: Problem, method: MethodKind, is_http2: bool) -> Response<Full<Bytes>> {
    let method = match method {
        MethodKind::Head => Method::HEAD,
        _ => Method::GET,
    };
    let mut response = problem.respond_to::<Full<Bytes>>(&method);
    if response.status() == StatusCode::REQUEST_TIMEOUT && !is_http2 {
        // The rest of the body would be read as the next request (RFC 9110, section 15.5.9).
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Returns true for bodies that may pause for as long as they like.
fn is_stream(headers: &HeaderMap) -> bool {
    const STREAMS: [&str; 3] = [
        "text/event-stream",
        "application/grpc",
        "application/grpc-web",
    ];
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| has_type(value, &STREAMS))
}

fn is_grpc(content_type: &HeaderValue) -> bool {
    has_type(content_type, &["application/grpc"])
}

/// Returns true if a content type is one of `expected`, perhaps with a suffix such as `+proto` or parameters.
fn has_type(content_type: &HeaderValue, expected: &[&str]) -> bool {
    let value = content_type.as_bytes();
    expected.iter().any(|expected| {
        let (kind, rest) = value.split_at(expected.len().min(value.len()));
        kind.eq_ignore_ascii_case(expected.as_bytes())
            && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_recognised_by_their_content_type() {
        let is_stream = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            is_stream(&headers)
        };
        for value in [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-web+proto",
        ] {
            assert!(is_stream(value), "{value}");
        }
        for value in ["text/event-streams", "application/grpcs", "text/plain", ""] {
            assert!(!is_stream(value), "{value}");
        }
        assert!(!super::is_stream(&HeaderMap::new()));
    }
}
