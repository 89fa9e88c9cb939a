use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    marker::PhantomData,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use http::{Extensions, HeaderMap};
use http_body::Body as HttpBody;
use prost::Message;
use tonic::{Status, body::Body, server::UnaryService};
use tonic_prost::ProstCodec;
use tower_service::Service;
use towerkit_core::{BoxError, Clock, Deadline, ErrorCode};
use towerkit_endpoint::{IntoRpcError, Request, RpcError, serve_call};

use crate::{
    messages::{DEFAULT_MAX_MESSAGE, MessageLimitBody},
    metadata,
    status::status,
};

/// Serves one call of a method by an endpoint: the body of a method of a trait that tonic generates.
///
/// The metadata and the extensions of the request move into the [`Request`] of the endpoint; the reply converts into the response.
/// A message that does not convert is [`InvalidArgument`](ErrorCode::InvalidArgument) with the text of the conversion's error, or the
/// [`RpcError`] that the conversion returns. Errors become a [`Status`] by [`status`], and a panic of the endpoint becomes
/// [`Internal`](ErrorCode::Internal).
///
/// The [`Deadline`] of the call is that in the extensions, or else that of `grpc-timeout`. It is the [current](Deadline::current) one
/// while the endpoint runs.
///
/// ```
/// # struct HelloRequest { name: String }
/// # struct HelloReply { text: String }
/// # impl From<HelloRequest> for String { fn from(request: HelloRequest) -> String { request.name } }
/// # impl From<String> for HelloReply { fn from(text: String) -> Self { Self { text } } }
/// # #[tonic::async_trait]
/// # trait Greeter {
/// #     async fn hello(&self, request: tonic::Request<HelloRequest>) -> Result<tonic::Response<HelloReply>, tonic::Status>;
/// # }
/// use towerkit_endpoint::{Endpoint, RpcError};
/// use towerkit_transport_grpc::serve;
///
/// struct GreeterService {
///     hello: Endpoint<String, String, RpcError>,
/// }
///
/// #[tonic::async_trait]
/// impl Greeter for GreeterService {
///     async fn hello(&self, request: tonic::Request<HelloRequest>) -> Result<tonic::Response<HelloReply>, tonic::Status> {
///         serve("hello", &self.hello, request).await
///     }
/// }
/// ```
pub fn serve<S, M, T, N>(
    operation: &'static str,
    endpoint: &S,
    request: tonic::Request<M>,
) -> impl Future<Output = Result<tonic::Response<N>, Status>> + use<S, M, T, N>
where
    S: Service<Request<T>, Response: TryInto<N, Error: Into<BoxError>>, Error: IntoRpcError>
        + Clone,
    M: TryInto<T, Error: Into<BoxError>>,
{
    let endpoint = endpoint.clone();
    let (metadata, mut extensions, message) = request.into_parts();
    let headers = metadata.into_headers();
    let deadline = find_deadline(&headers, &mut extensions);
    let message = message.try_into();
    let message = message.map_err(|error| status(invalid_argument(error.into())));
    async move {
        let mut request = Request::new(operation, message?);
        request.headers = headers;
        request.extensions = extensions;
        let mut call = pin!(serve_call(endpoint, request));
        let reply = poll_fn(|cx| match &deadline {
            Some(_) => Deadline::enter(deadline.as_ref(), || call.as_mut().poll(cx)),
            None => call.as_mut().poll(cx),
        });
        let reply = reply.await.map_err(status)?;
        let reply = reply.try_into().map_err(|error| status(error.into()));
        Ok(tonic::Response::new(reply?))
    }
}

/// Returns the deadline in the extensions, or that of `grpc-timeout`, which is inserted into them.
fn find_deadline(headers: &HeaderMap, extensions: &mut Extensions) -> Option<Deadline> {
    if let Some(deadline) = extensions.get() {
        return Some(Deadline::clone(deadline));
    }
    let deadline = Deadline::after(&Clock::default(), metadata::timeout(headers)?);
    extensions.insert(deadline.clone());
    Some(deadline)
}

/// Returns the error of a request that does not convert. Its text is about the caller's own message.
fn invalid_argument(error: BoxError) -> RpcError {
    match error.downcast::<RpcError>() {
        Ok(error) => *error,
        Err(error) => {
            RpcError::new(ErrorCode::InvalidArgument, error.to_string()).with_source(error)
        }
    }
}

/// Makes a service of one unary method from an endpoint, for a server without generated code, or for a test without a socket.
///
/// `M` and `N` are the messages of the method, as prost has them. The service takes [`http::Request`]s; mount it at the path of the
/// method, such as `/pb.Add/Sum`, in a router, or use it as the channel of a [`client`](crate::client). It serves calls as [`serve`]
/// does.
pub fn unary<M, N, T, S>(operation: &'static str, endpoint: S) -> Unary<S, M, N, T> {
    Unary {
        method: Method {
            operation,
            endpoint,
            messages: PhantomData,
        },
        max_decoding_message_size: DEFAULT_MAX_MESSAGE,
    }
}

/// A service of one unary method; [`unary`] makes it.
pub struct Unary<S, M, N, T> {
    method: Method<S, M, N, T>,
    max_decoding_message_size: usize,
}

impl<S, M, N, T> Unary<S, M, N, T> {
    /// Limits the size of the encoded request, in bytes; 4 MiB by default.
    ///
    /// A request over the limit gets [`ResourceExhausted`](ErrorCode::ResourceExhausted), and is not read into memory.
    #[must_use]
    pub fn max_decoding_message_size(mut self, bytes: usize) -> Self {
        self.max_decoding_message_size = bytes;
        self
    }
}

impl<S, M, N, T, B> Service<http::Request<B>> for Unary<S, M, N, T>
where
    S: Service<Request<T>, Response: TryInto<N, Error: Into<BoxError>>, Error: IntoRpcError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    M: Message + Default + TryInto<T, Error: Into<BoxError>> + Send + 'static,
    N: Message + Send + 'static,
    T: Send + 'static,
    B: HttpBody<Error: Into<BoxError>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = UnaryFuture;

    /// Is always ready: the endpoint is made ready for each call, once its message is there.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> UnaryFuture {
        let method = self.method.clone();
        let max = self.max_decoding_message_size;
        UnaryFuture(Box::pin(async move {
            let request = request.map(|body| MessageLimitBody::of_request(body, max));
            let codec = ProstCodec::<N, M>::default();
            let mut grpc = tonic::server::Grpc::new(codec).max_decoding_message_size(max);
            grpc.unary(method, request).await
        }))
    }
}

/// The method as tonic calls it.
struct Method<S, M, N, T> {
    operation: &'static str,
    endpoint: S,
    messages: PhantomData<fn(M, T) -> N>,
}

impl<S, M, N, T> UnaryService<M> for Method<S, M, N, T>
where
    S: Service<Request<T>, Response: TryInto<N, Error: Into<BoxError>>, Error: IntoRpcError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    M: TryInto<T, Error: Into<BoxError>> + Send + 'static,
    N: Send + 'static,
    T: Send + 'static,
{
    type Response = N;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<N>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<M>) -> Self::Future {
        Box::pin(serve(self.operation, &self.endpoint, request))
    }
}

impl<S: Clone, M, N, T> Clone for Method<S, M, N, T> {
    fn clone(&self) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            ..*self
        }
    }
}

impl<S: Clone, M, N, T> Clone for Unary<S, M, N, T> {
    fn clone(&self) -> Self {
        Self {
            method: self.method.clone(),
            ..*self
        }
    }
}

impl<S: fmt::Debug, M, N, T> fmt::Debug for Unary<S, M, N, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unary")
            .field("operation", &self.method.operation)
            .field("endpoint", &self.method.endpoint)
            .finish_non_exhaustive()
    }
}

/// The future of [`Unary`]. Dropping it drops the call of the endpoint.
pub struct UnaryFuture(Pin<Box<dyn Future<Output = http::Response<Body>> + Send>>);

impl Future for UnaryFuture {
    type Output = Result<http::Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for UnaryFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnaryFuture").finish_non_exhaustive()
    }
}
