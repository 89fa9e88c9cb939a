use std::{
    fmt,
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use http::uri::PathAndQuery;
use http_body::Body as HttpBody;
use prost::Message;
use tonic::{Status, body::Body, client::GrpcService};
use tonic_prost::ProstCodec;
use tower_service::Service;
use towerkit_core::{BoxError, ConfigError, Deadline, ErrorCode, Rejection, RejectionReason};
use towerkit_endpoint::{IntoRpcError, Request, RpcError};

use crate::{
    channel::CheckedChannel,
    messages::{DEFAULT_MAX_MESSAGE, too_large},
    metadata,
    status::{deadline_exceeded, rpc_error},
};

/// Makes an endpoint that calls a unary method, such as `/pb.Add/Sum`, over a channel.
///
/// `M` and `N` are the messages of the method, as prost has them. The endpoint takes a `T` that converts into `M`, and returns a `U`
/// into which `N` converts; both are usually inferred. The channel is a [`Channel`], or any other [`GrpcService`], such as a channel
/// behind layers with `.grpc()`. Layers with `.rpc()` stack around the endpoint.
///
/// # Errors
///
/// Returns a [`ConfigError`] if `path` is not the path of a method: a slash, the service, a slash, and the method.
///
/// [`Channel`]: https://docs.rs/tonic/0.14/tonic/transport/struct.Channel.html
pub fn client<M, N, T, U, C>(
    channel: C,
    path: &'static str,
) -> Result<Client<C, M, N, T, U>, ConfigError> {
    let segments = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let is_method = segments.is_some_and(|(service, method)| {
        !service.is_empty() && !method.is_empty() && !method.contains(['/', '?', '#'])
    });
    let parsed = PathAndQuery::try_from(path).ok().filter(|_| is_method);
    let expected = "the path of a method, such as `/package.Service/Method`";
    Ok(Client {
        channel,
        path: parsed.ok_or_else(|| ConfigError::new("path", path, expected))?,
        max_decoding_message_size: DEFAULT_MAX_MESSAGE,
        max_encoding_message_size: usize::MAX,
        messages: PhantomData,
    })
}

/// An endpoint that calls a unary method of a gRPC service; [`client`] makes it.
///
/// The headers of the [`Request`] are sent as metadata, without those that gRPC or HTTP/2 reserve. The remaining time of its
/// [`Deadline`], or of the [current](Deadline::current) one, is sent as `grpc-timeout`; a request after its deadline is rejected with
/// [`DeadlineExceeded`](RejectionReason::DeadlineExceeded) and not sent. Errors are made by [`rpc_error`].
pub struct Client<C, M, N, T, U> {
    channel: C,
    path: PathAndQuery,
    max_decoding_message_size: usize,
    max_encoding_message_size: usize,
    messages: PhantomData<fn(T, M, N) -> U>,
}

impl<C, M, N, T, U> Client<C, M, N, T, U> {
    /// Limits the size of the encoded response, in bytes; 4 MiB by default.
    ///
    /// A response over the limit is an error with the code [`ResourceExhausted`](ErrorCode::ResourceExhausted), and is not read into
    /// memory.
    #[must_use]
    pub fn max_decoding_message_size(mut self, bytes: usize) -> Self {
        self.max_decoding_message_size = bytes;
        self
    }

    /// Limits the size of the encoded request, in bytes; unlimited by default.
    ///
    /// A request over the limit is an error with the code [`ResourceExhausted`](ErrorCode::ResourceExhausted), and is not sent.
    #[must_use]
    pub fn max_encoding_message_size(mut self, bytes: usize) -> Self {
        self.max_encoding_message_size = bytes;
        self
    }

    /// Makes the message for the wire.
    fn encode(
        &self,
        request: Request<T>,
        deadline: Option<&Deadline>,
    ) -> Result<tonic::Request<M>, RpcError>
    where
        M: Message,
        T: TryInto<M, Error: Into<BoxError>>,
    {
        let (timeout, mut extensions) = (metadata::timeout(&request.headers), request.extensions);
        let message = request.message.try_into().map_err(conversion_error)?;
        let (size, max) = (message.encoded_len(), self.max_encoding_message_size);
        if size > max {
            return Err(rpc_error(too_large(size, max)));
        }
        if let Some(deadline) = deadline {
            extensions.insert(deadline.clone());
        }
        let metadata = metadata::outgoing(request.headers);
        let mut request = tonic::Request::from_parts(metadata, extensions, message);
        let left = deadline.map(Deadline::remaining);
        if let Some(left) = left.into_iter().chain(timeout).min() {
            if left.is_zero() {
                return Err(Rejection::new(RejectionReason::DeadlineExceeded, "grpc").into());
            }
            request.set_timeout(left);
        }
        Ok(request)
    }
}

impl<C, M, N, T, U> Service<Request<T>> for Client<C, M, N, T, U>
where
    C: GrpcService<Body> + Clone + Send + 'static,
    C::Future: Send,
    C::ResponseBody: HttpBody<Error: Into<BoxError>> + Send + 'static,
    M: Message + Send + Sync + 'static,
    N: Message + Default + Send + Sync + 'static,
    T: TryInto<M, Error: Into<BoxError>>,
    N: TryInto<U, Error: Into<BoxError>>,
    U: 'static,
{
    type Response = U;
    type Error = RpcError;
    type Future = ClientFuture<U>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RpcError>> {
        let ready = self.channel.poll_ready(cx);
        ready.map_err(|error| rpc_error(Status::from_error(error.into())))
    }

    fn call(&mut self, request: Request<T>) -> ClientFuture<U> {
        let own = request.extensions.get().cloned();
        let deadline = own.or_else(Deadline::current);
        let request = self.encode(request, deadline.as_ref());
        // The instance that is ready makes the call.
        let next = self.channel.clone();
        let channel = mem::replace(&mut self.channel, next);
        let max = self.max_decoding_message_size;
        let path = self.path.clone();
        ClientFuture(Box::pin(async move {
            let request = request?;
            let channel = CheckedChannel::new(channel, max);
            let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(max);
            let codec = ProstCodec::<M, N>::default();
            let response = grpc.unary(request, path, codec).await;
            let response = response.map_err(|status| {
                let error = rpc_error(status);
                let has_passed = deadline.is_some_and(|deadline| deadline.has_passed());
                // With this code tonic's server reports that `grpc-timeout` has passed.
                match error.code() {
                    ErrorCode::Cancelled if has_passed => deadline_exceeded().with_source(error),
                    _ => error,
                }
            })?;
            response.into_inner().try_into().map_err(conversion_error)
        }))
    }
}

/// Returns the error of a message that this process cannot convert: its own, or an internal one with the text for logs only.
pub(crate) fn conversion_error(error: impl Into<BoxError>) -> RpcError {
    error.into().into_rpc_error()
}

impl<C: Clone, M, N, T, U> Clone for Client<C, M, N, T, U> {
    fn clone(&self) -> Self {
        Self {
            channel: self.channel.clone(),
            path: self.path.clone(),
            ..*self
        }
    }
}

impl<C: fmt::Debug, M, N, T, U> fmt::Debug for Client<C, M, N, T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("channel", &self.channel)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The future of a [`Client`]. Dropping it cancels the call: the server gets `RST_STREAM`.
pub struct ClientFuture<U>(Pin<Box<dyn Future<Output = Result<U, RpcError>> + Send>>);

impl<U> Future for ClientFuture<U> {
    type Output = Result<U, RpcError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<U> fmt::Debug for ClientFuture<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFuture").finish_non_exhaustive()
    }
}
