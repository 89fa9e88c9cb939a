use std::task::{Context, Poll};

use http::{Request, header};
use tower_layer::Layer;
use tower_service::Service;

use crate::messages::{GRPC, MessageLimitBody};

/// Limits the size of the messages that a gRPC server reads, for servers with generated code.
///
/// A call with a message over the limit gets `RESOURCE_EXHAUSTED`, as the [codes of gRPC] say; the message is not read into memory.
/// tonic has a limit of its own, 4 MiB by default, and ends such a call with `OUT_OF_RANGE`. So for a limit above 4 MiB, set
/// `max_decoding_message_size` of the generated server, too. The layer is for all kinds of methods; requests that are not gRPC pass
/// without a limit.
///
/// A client that goes away while its message is read has cancelled the call: log, metrics and trace around this layer record it so.
/// tonic by itself makes an internal error of it.
///
/// [codes of gRPC]: https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
#[derive(Debug, Clone, Copy)]
pub struct MessageLimitLayer {
    max: usize,
}

impl MessageLimitLayer {
    /// Limits messages to `bytes` bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { max: bytes }
    }
}

impl<S> Layer<S> for MessageLimitLayer {
    type Service = MessageLimit<S>;

    fn layer(&self, inner: S) -> MessageLimit<S> {
        MessageLimit {
            inner,
            max: self.max,
        }
    }
}

/// The service of a [`MessageLimitLayer`].
#[derive(Debug, Clone, Copy)]
pub struct MessageLimit<S> {
    inner: S,
    max: usize,
}

impl<S, B> Service<Request<B>> for MessageLimit<S>
where
    S: Service<Request<MessageLimitBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(|value| value.as_bytes().starts_with(GRPC));
        self.inner.call(request.map(|body| {
            if is_grpc {
                MessageLimitBody::of_request(body, self.max)
            } else {
                MessageLimitBody::unlimited(body)
            }
        }))
    }
}
