use std::{
    convert::Infallible,
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header, request};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;
use towerkit_core::{BoxError, CarriesRejection, ErrorCode, causes};
use towerkit_endpoint::{IntoRpcError, RpcError, ServeCall, catch_panic, serve_call};

use crate::{
    DecodeRequest, EncodeResponse, ResponseBody, problem,
    read_body::{ReadBody, ReadBodyError},
};

/// Serves an endpoint over HTTP: decodes the request, calls the endpoint, and encodes its response.
///
/// `operation` is the name of the calls for layers with `.rpc()` around the endpoint. The service that is returned takes an HTTP request
/// with any body, and is a route of axum, a service of hyper or of `towerkit-server`. See the [crate's documentation](crate) for an
/// example.
pub fn serve<S, C, T>(operation: &'static str, codec: C, endpoint: S) -> HttpHandler<S, C, T>
where
    S: Service<towerkit_endpoint::Request<T>, Error: IntoRpcError> + Clone,
    C: EncodeResponse<S::Response> + Clone,
{
    HttpHandler {
        operation,
        codec,
        endpoint,
        options: Options {
            method: None,
            body_limit: DEFAULT_BODY_LIMIT,
            errors: None,
        },
        message: PhantomData,
    }
}

const DEFAULT_BODY_LIMIT: usize = 1024 * 1024;

/// An endpoint as an HTTP service; made by [`serve`].
pub struct HttpHandler<S, C, T> {
    pub(crate) operation: &'static str,
    pub(crate) codec: C,
    pub(crate) endpoint: S,
    pub(crate) options: Options,
    message: PhantomData<fn(T)>,
}

/// The options of a handler, apart from its types.
#[derive(Clone)]
pub(crate) struct Options {
    method: Option<Method>,
    pub(crate) body_limit: usize,
    errors: Option<Arc<ErrorEncoder>>,
}

type ErrorEncoder = dyn Fn(&RpcError) -> Response<ResponseBody> + Send + Sync;

impl<S, C, T> HttpHandler<S, C, T> {
    /// Answers requests with another method with 405 and `Allow`; by default every method is served.
    ///
    /// A handler that serves `GET` serves `HEAD`, too. A router such as axum's checks the method itself.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.options.method = Some(method);
        self
    }

    /// Limits the body of a request to this number of bytes; 1 MiB by default. A longer one is answered with 413.
    ///
    /// The limit holds for the body as it arrives here: after decompression, if a layer around this service decompresses it. A body whose
    /// declared length is over the limit is not read.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.options.body_limit = bytes;
        self
    }

    /// Encodes errors by a function; [`problem`] by default.
    ///
    /// It gets every error that a caller sees: those of the endpoint and of the layers around it, of decoding and encoding, of axum's
    /// extractors, and those of this service itself.
    #[must_use]
    pub fn errors<F>(mut self, encode: F) -> Self
    where
        F: Fn(&RpcError) -> Response<ResponseBody> + Send + Sync + 'static,
    {
        self.options.errors = Some(Arc::new(encode));
        self
    }
}

impl Options {
    /// Rejects a request that needs no decoding for it.
    pub(crate) fn check<B: Body>(&self, request: &Request<B>) -> Result<(), Failed> {
        if let Some(allowed) = &self.method
            && !is_allowed(request.method(), allowed)
        {
            return Err(Failed::Method(allowed.clone()));
        }
        Ok(())
    }

    fn encode(&self, error: &RpcError) -> Response<ResponseBody> {
        let encode = || match &self.errors {
            Some(encode) => Ok(encode(error)),
            None => Ok(problem(error)),
        };
        // An encoder that panics is answered as well.
        let mut response = catch_panic(encode).unwrap_or_else(|error| problem(&error));
        if let Some(rejection) = error.rejection()
            && response.status().as_u16() >= 400
        {
            // By it, outer layers recognise a rejection.
            response.extensions_mut().insert(rejection.clone());
        }
        response
    }

    pub(crate) fn encode_failed(&self, failed: Failed) -> Response<ResponseBody> {
        match failed {
            Failed::Error(error) => self.encode(&error),
            Failed::Method(allowed) => {
                let message = "the method is not allowed";
                let error =
                    RpcError::new(ErrorCode::InvalidArgument, message).with_http_status(405);
                let mut response = self.encode(&error);
                let allowed = match allowed {
                    Method::GET => Ok(HeaderValue::from_static("GET, HEAD")),
                    other => HeaderValue::from_str(other.as_str()),
                };
                let allowed = allowed.expect("a method is a token");
                response.headers_mut().insert(header::ALLOW, allowed);
                response
            }
        }
    }
}

/// RFC 9110, section 9.3.2: a `HEAD` is served as a `GET` whose body is not sent.
fn is_allowed(method: &Method, allowed: &Method) -> bool {
    method == allowed || (method == Method::HEAD && allowed == Method::GET)
}

/// The reason why an endpoint is not called.
pub(crate) enum Failed {
    Error(RpcError),
    /// The request has another method than this one.
    Method(Method),
}

impl From<RpcError> for Failed {
    fn from(error: RpcError) -> Self {
        Self::Error(error)
    }
}

fn too_long(limit: usize) -> RpcError {
    let message = format!("the body has more than {limit} bytes");
    RpcError::new(ErrorCode::InvalidArgument, message).with_http_status(413)
}

/// Converts the error of a request's body that could not be read within the limit: to one with the HTTP status 413, 408 or 400, or to
/// the rejection of a layer.
#[doc(hidden)]
pub fn body_error<E: Into<BoxError>>(error: ReadBodyError<E>, limit: usize) -> RpcError {
    let error = match error {
        ReadBodyError::TooLong => return too_long(limit),
        ReadBodyError::Body(error) => error.into(),
    };
    let is_timeout = |cause: &(dyn std::error::Error + 'static)| {
        let error: Option<&std::io::Error> = cause.downcast_ref();
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
    };
    if let Some(rejection) = error.rejection() {
        return rejection.clone().into();
    }
    let (message, status) = if causes(error.as_ref()).any(is_timeout) {
        ("the body did not arrive in time", 408)
    } else {
        ("the body broke off", 400)
    };
    RpcError::new(ErrorCode::InvalidArgument, message)
        .with_http_status(status)
        .with_source(error)
}

impl<S: Clone, C: Clone, T> Clone for HttpHandler<S, C, T> {
    fn clone(&self) -> Self {
        Self {
            operation: self.operation,
            codec: self.codec.clone(),
            endpoint: self.endpoint.clone(),
            options: self.options.clone(),
            message: PhantomData,
        }
    }
}

impl<S, C, T> fmt::Debug for HttpHandler<S, C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpHandler")
            .field("operation", &self.operation)
            .field("body_limit", &self.options.body_limit)
            .finish_non_exhaustive()
    }
}

impl<S, C, T, B> Service<Request<B>> for HttpHandler<S, C, T>
where
    S: Service<towerkit_endpoint::Request<T>, Error: IntoRpcError> + Clone,
    C: DecodeRequest<T> + EncodeResponse<S::Response> + Clone,
    B: Body<Error: Into<BoxError>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = HandlerFuture<S, C, T, B>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let checked = self.options.check(&request);
        let (head, body) = request.into_parts();
        HandlerFuture {
            operation: self.operation,
            codec: self.codec.clone(),
            options: self.options.clone(),
            method: head.method.clone(),
            state: match checked {
                Ok(()) => State::Reading {
                    body: ReadBody::new(body, self.options.body_limit),
                    waiting: Some((self.endpoint.clone(), head)),
                },
                Err(failed) => State::Failed(Some(failed)),
            },
        }
    }
}

/// The future of an [`HttpHandler`].
#[pin_project]
pub struct HandlerFuture<S, C, T, B>
where
    S: Service<towerkit_endpoint::Request<T>>,
    B: Body,
{
    operation: &'static str,
    codec: C,
    options: Options,
    method: Method,
    #[pin]
    state: State<S, T, B>,
}

#[pin_project(project = StateProj)]
enum State<S, T, B>
where
    S: Service<towerkit_endpoint::Request<T>>,
    B: Body,
{
    Reading {
        #[pin]
        body: ReadBody<B>,
        /// The endpoint and the head, until the body is read.
        waiting: Option<(S, request::Parts)>,
    },
    Calling(#[pin] ServeCall<S, T>),
    Failed(Option<Failed>),
}

impl<S, C, T, B> HandlerFuture<S, C, T, B>
where
    S: Service<towerkit_endpoint::Request<T>, Error: IntoRpcError> + Clone,
    C: DecodeRequest<T> + EncodeResponse<S::Response>,
    B: Body<Error: Into<BoxError>>,
{
    /// Polls the steps: the body, the decoding, the call, the encoding.
    fn poll_steps(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ResponseBody>, Failed>> {
        let mut me = self.project();
        loop {
            match me.state.as_mut().project() {
                StateProj::Reading { body, waiting } => {
                    let limit = me.options.body_limit;
                    let body = ready!(body.poll(cx)).map_err(|error| body_error(error, limit))?;
                    let (endpoint, head) = waiting.take().expect("the body is read once");
                    let message = catch_panic(|| me.codec.decode_request(&head, body))?;
                    // The endpoint gets ready only now: a slow body must not hold a permit of its layers.
                    let request = endpoint_request(me.operation, message, head);
                    me.state.set(State::Calling(serve_call(endpoint, request)));
                }
                StateProj::Calling(call) => {
                    let response = ready!(call.poll(cx))?;
                    let response = catch_panic(|| me.codec.encode_response(response))?;
                    return Poll::Ready(Ok(response));
                }
                StateProj::Failed(failed) => {
                    return Poll::Ready(Err(failed.take().expect("not polled after its end")));
                }
            }
        }
    }
}

impl<S, C, T, B> Future for HandlerFuture<S, C, T, B>
where
    S: Service<towerkit_endpoint::Request<T>, Error: IntoRpcError> + Clone,
    C: DecodeRequest<T> + EncodeResponse<S::Response>,
    B: Body<Error: Into<BoxError>>,
{
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.as_mut().poll_steps(cx));
        let me = self.project();
        let response = result.unwrap_or_else(|failed| me.options.encode_failed(failed));
        Poll::Ready(Ok(for_method(me.method, response)))
    }
}

/// Makes the request of an endpoint from a message and the head that it came with.
pub(crate) fn endpoint_request<T>(
    operation: &'static str,
    message: T,
    head: request::Parts,
) -> towerkit_endpoint::Request<T> {
    let mut request = towerkit_endpoint::Request::new(operation, message);
    request.headers = head.headers;
    request.extensions = head.extensions;
    request
}

/// Removes the body of a response that has none by its method or its status (RFC 9110, sections 6.4.1, 9.3.2 and 15.3.6).
pub(crate) fn for_method(
    method: &Method,
    response: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let is_bodiless = matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    if !is_bodiless && *method != Method::HEAD {
        return response;
    }
    let length = response.body().size_hint().exact();
    let mut response = response.map(|_| ResponseBody::empty());
    if let Some(length) = length
        && !is_bodiless
    {
        let headers = response.headers_mut();
        headers
            .entry(header::CONTENT_LENGTH)
            .or_insert(length.into());
    }
    response
}

impl<S, C, T, B> fmt::Debug for HandlerFuture<S, C, T, B>
where
    S: Service<towerkit_endpoint::Request<T>>,
    B: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerFuture").finish_non_exhaustive()
    }
}
