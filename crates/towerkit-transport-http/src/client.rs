use std::{
    error::Error,
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Method, Request, Response, Uri, header, request, response};
use http_body::Body;
use http_body_util::Full;
use pin_project::pin_project;
use tower_service::Service;
use towerkit_core::{BoxError, CarriesRejection, ErrorCode, Rejection, RejectionReason, causes};
use towerkit_endpoint::RpcError;
use towerkit_http::{BoxedClientErrors, InspectError};

use crate::{
    DecodeResponse, EncodeRequest,
    read_body::{ReadBody, ReadBodyError},
};

/// Makes an endpoint of a service that an upstream serves over HTTP.
///
/// `http` sends the requests: [`towerkit_http::client`], the client of hyper-util, an axum router in a test, or any of them inside of
/// layers with `.http_client()`. Each request has this method and this URI, unless the codec changes them.
///
/// ```
/// use axum::{Router, routing::post_service};
/// use http::{Method, Uri};
/// use towerkit_endpoint::{EndpointExt, RpcError, endpoint_fn};
/// use towerkit_transport_http::{HttpClient, Json, client, serve};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let double = endpoint_fn((), |(), n: u32| async move { Ok::<_, RpcError>(2 * n) });
/// let server: Router = Router::new().route("/double", post_service(serve("double", Json, double)));
///
/// let double = client(server, Method::POST, Uri::from_static("http://double.example/double"), Json);
/// let doubled: u32 = double.invoke(4).await?;
/// assert_eq!(doubled, 8);
/// # Ok::<_, towerkit_core::BoxError>(()) }).unwrap();
/// ```
pub fn client<H, C, T, U>(http: H, method: Method, uri: Uri, codec: C) -> HttpClient<H, C, T, U>
where
    H: Service<Request<Full<Bytes>>>,
    C: EncodeRequest<T> + DecodeResponse<U>,
{
    HttpClient {
        http,
        method,
        uri,
        codec,
        response_limit: DEFAULT_RESPONSE_LIMIT,
        types: PhantomData,
    }
}

const DEFAULT_RESPONSE_LIMIT: usize = 4 * 1024 * 1024;

/// An upstream's service as an endpoint; made by [`client`].
///
/// A message of type `T` is sent, and a response with a status of 2xx decoded to a `U`. Any other response is an
/// [`RpcError`] with its code, its message and the time of its `Retry-After`. So is a failed connection:
/// [`Unavailable`](ErrorCode::Unavailable), with the cause as its source, and marked as unsent if the request certainly never reached
/// the upstream.
///
/// Headers and extensions of the endpoint's request are sent with it, credentials such as `Authorization` included. Headers that belong
/// to one connection or to one body are not, so that an endpoint may pass a request on. Dropping the future ends the request.
pub struct HttpClient<H, C, T, U> {
    http: H,
    method: Method,
    uri: Uri,
    codec: C,
    response_limit: usize,
    types: PhantomData<fn(T) -> U>,
}

impl<H, C, T, U> HttpClient<H, C, T, U> {
    /// Limits the body of a response to this number of bytes; 4 MiB by default.
    #[must_use]
    pub fn response_limit(mut self, bytes: usize) -> Self {
        self.response_limit = bytes;
        self
    }
}

impl<H: Clone, C: Clone, T, U> Clone for HttpClient<H, C, T, U> {
    fn clone(&self) -> Self {
        Self {
            http: self.http.clone(),
            method: self.method.clone(),
            uri: self.uri.clone(),
            codec: self.codec.clone(),
            response_limit: self.response_limit,
            types: PhantomData,
        }
    }
}

impl<H, C, T, U> fmt::Debug for HttpClient<H, C, T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient")
            .field("method", &self.method)
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

impl<H, C, T, U, B> Service<towerkit_endpoint::Request<T>> for HttpClient<H, C, T, U>
where
    H: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
    C: EncodeRequest<T> + DecodeResponse<U> + Clone,
    B: Body<Error: Into<BoxError>>,
{
    type Response = U;
    type Error = RpcError;
    type Future = HttpClientFuture<H::Future, C, U, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RpcError>> {
        self.http
            .poll_ready(cx)
            .map_err(|error| transport_error(error.into()))
    }

    fn call(&mut self, request: towerkit_endpoint::Request<T>) -> Self::Future {
        let state = match self.encode(request) {
            Ok(request) => {
                let call = self.http.call(request);
                State::Exchanging(Exchange::new(call, self.response_limit))
            }
            Err(error) => State::Failed(Some(error)),
        };
        HttpClientFuture {
            codec: self.codec.clone(),
            state,
            response: PhantomData,
        }
    }
}

impl<H, C, T, U> HttpClient<H, C, T, U> {
    fn encode(
        &self,
        request: towerkit_endpoint::Request<T>,
    ) -> Result<Request<Full<Bytes>>, RpcError>
    where
        C: EncodeRequest<T>,
    {
        let mut head = client_head(
            self.method.clone(),
            self.uri.clone(),
            request.headers,
            request.extensions,
        );
        let body = self.codec.encode_request(request.message, &mut head)?;
        Ok(Request::from_parts(head, Full::new(body)))
    }
}

/// Makes the head of a request from the context of a call. Headers that belong to one connection are left out.
#[doc(hidden)]
pub fn client_head(
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
) -> request::Parts {
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = method;
    head.uri = uri;
    head.headers = headers;
    head.extensions = extensions;
    remove_unforwardable_headers(&mut head.headers);
    head
}

/// Removes the headers of an incoming request that must not be sent on: those of one connection ([RFC 9110, section 7.6.1]), those of
/// its body and its host, and those that ask for a part of the response, or for none if the caller has it.
///
/// [RFC 9110, section 7.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
fn remove_unforwardable_headers(headers: &mut HeaderMap) {
    if headers.is_empty() {
        return;
    }
    // Names that `Connection` lists belong to the connection, too.
    let listed = headers.get_all(header::CONNECTION).into_iter();
    let listed = listed.filter_map(|value| value.to_str().ok());
    let listed: Vec<_> = listed
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_owned())
        .collect();
    for name in listed {
        headers.remove(name.as_str());
    }
    for name in [
        header::CONNECTION,
        header::PROXY_AUTHORIZATION,
        header::PROXY_AUTHENTICATE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_LOCATION,
        header::CONTENT_RANGE,
        header::ACCEPT_ENCODING,
        header::EXPECT,
        header::HOST,
        header::RANGE,
        header::IF_RANGE,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
    ] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// The future of an [`HttpClient`].
#[pin_project]
pub struct HttpClientFuture<F, C, U, B: Body> {
    codec: C,
    #[pin]
    state: State<F, B>,
    response: PhantomData<fn() -> U>,
}

#[pin_project(project = StateProj)]
enum State<F, B: Body> {
    Exchanging(#[pin] Exchange<F, B>),
    Failed(Option<RpcError>),
}

impl<F, C, U, B, E> Future for HttpClientFuture<F, C, U, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    C: DecodeResponse<U>,
    B: Body<Error: Into<BoxError>>,
    E: Into<BoxError>,
{
    type Output = Result<U, RpcError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.project();
        let (head, body) = match me.state.project() {
            StateProj::Exchanging(exchange) => ready!(exchange.poll(cx))?,
            StateProj::Failed(error) => {
                return Poll::Ready(Err(error.take().expect("not polled after its end")));
            }
        };
        Poll::Ready(if head.status.is_success() {
            me.codec.decode_response(&head, body)
        } else {
            Err(read_error(&head, &body))
        })
    }
}

/// Awaits a response of any status, and reads its body up to a limit.
///
/// The error is that of a request without a response: the HTTP service failed, a layer on this side rejected the request, or the body
/// did not arrive.
#[doc(hidden)]
#[pin_project]
pub struct Exchange<F, B: Body> {
    response_limit: usize,
    #[pin]
    state: ExchangeState<F, B>,
}

#[pin_project(project = ExchangeStateProj)]
enum ExchangeState<F, B: Body> {
    Calling(#[pin] F),
    Reading {
        head: Option<response::Parts>,
        #[pin]
        body: ReadBody<B>,
    },
}

impl<F, B: Body> Exchange<F, B> {
    /// Reads the response of this future, with a body of at most this number of bytes.
    pub fn new(response: F, response_limit: usize) -> Self {
        Self {
            response_limit,
            state: ExchangeState::Calling(response),
        }
    }
}

impl<F, B, E> Future for Exchange<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Error: Into<BoxError>>,
    E: Into<BoxError>,
{
    type Output = Result<(response::Parts, Bytes), RpcError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        loop {
            match me.state.as_mut().project() {
                ExchangeStateProj::Calling(call) => {
                    let result = ready!(call.poll(cx));
                    let response = result.map_err(|error| transport_error(error.into()))?;
                    let (head, body) = response.into_parts();
                    // A layer on this side has made this response: the request was not sent, and the rejection stays one.
                    if let Some(rejection) = head.extensions.get::<Rejection>() {
                        return Poll::Ready(Err(rejection.clone().into()));
                    }
                    let body = ReadBody::new(body, *me.response_limit);
                    let head = Some(head);
                    me.state.set(ExchangeState::Reading { head, body });
                }
                ExchangeStateProj::Reading { head, body } => {
                    let body = ready!(body.poll(cx));
                    let head = head.take().expect("not polled after its end");
                    let body = match body {
                        Ok(body) => body,
                        // The error is that of the status, whether its body arrives or not.
                        Err(_) if !head.status.is_success() => Bytes::new(),
                        Err(error) => return Poll::Ready(Err(response_body_error(error))),
                    };
                    return Poll::Ready(Ok((head, body)));
                }
            }
        }
    }
}

impl<F, B: Body> fmt::Debug for Exchange<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

impl<F, C, U, B: Body> fmt::Debug for HttpClientFuture<F, C, U, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClientFuture").finish_non_exhaustive()
    }
}

/// Converts the error of an HTTP service that returned no response. Its text, which may name addresses, is in the source only.
#[doc(hidden)]
pub fn transport_error(error: BoxError) -> RpcError {
    if let Some(rejection) = error.rejection() {
        return rejection.clone().into();
    }
    let is_unsent = {
        let error: &(dyn Error + 'static) = error.as_ref();
        causes(error).any(<BoxedClientErrors as InspectError<BoxError>>::is_unsent)
    };
    let unavailable = RpcError::new(ErrorCode::Unavailable, "the upstream is unavailable");
    let unavailable = unavailable.with_source(error);
    if is_unsent {
        unavailable.unsent()
    } else {
        unavailable
    }
}

fn response_body_error<E: Into<BoxError>>(error: ReadBodyError<E>) -> RpcError {
    let error = match error {
        ReadBodyError::TooLong => {
            let message = "the response of the upstream is too long";
            return RpcError::new(ErrorCode::Internal, message);
        }
        ReadBodyError::Body(error) => error.into(),
    };
    if let Some(rejection) = error.rejection() {
        return rejection.clone().into();
    }
    let message = "the response of the upstream broke off";
    RpcError::new(ErrorCode::Unavailable, message).with_source(error)
}

/// Reads the error from a response that has no success status: the reverse of [`problem`](crate::problem).
///
/// The code is that of the member `code` if the body is JSON with one, and otherwise that of the status. The message is the member
/// `detail`, or go-kit's `error`, or the reason phrase of the status.
#[doc(hidden)]
pub fn read_error(head: &response::Parts, body: &Bytes) -> RpcError {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let status = head.status;
    let code = json["code"].as_str().and_then(parse_code);
    let code = code.unwrap_or_else(|| ErrorCode::from_http_status(status.as_u16()));
    let message = json["detail"].as_str().or(json["error"].as_str());
    let message = message
        .or(status.canonical_reason())
        .unwrap_or("unknown status");
    let error = RpcError::new(code, message.to_owned()).with_http_status(status.as_u16());
    match towerkit_http::retry_after(&head.headers) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// Parses the name of a code, or of the reason of a rejection.
#[doc(hidden)]
pub fn parse_code(name: &str) -> Option<ErrorCode> {
    let has_name = |reason: &RejectionReason| reason.as_str() == name;
    let of_reason = || {
        RejectionReason::ALL
            .into_iter()
            .find(has_name)
            .map(ErrorCode::from)
    };
    name.parse().ok().or_else(of_reason)
}
