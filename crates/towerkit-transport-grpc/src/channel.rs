//! The channel of a client, with its responses checked before tonic reads them.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response, header};
use http_body::Body;
use pin_project::pin_project;
use tonic::{Status, client::GrpcService};
use tower_service::Service;
use towerkit_core::{BoxError, Rejection};

use crate::{
    messages::{GRPC, MessageLimitBody, remove_invalid_details},
    status::{http_status, status},
};

/// A channel that returns the rejections of layers around it as errors, and that limits the size of messages.
#[derive(Debug)]
pub(crate) struct CheckedChannel<C> {
    inner: C,
    max: usize,
}

impl<C> CheckedChannel<C> {
    pub(crate) fn new(inner: C, max: usize) -> Self {
        Self { inner, max }
    }
}

impl<C, B> Service<Request<B>> for CheckedChannel<C>
where
    C: GrpcService<B>,
    C::ResponseBody: Body<Error: Into<BoxError>>,
{
    type Response = Response<MessageLimitBody<C::ResponseBody>>;
    type Error = BoxError;
    type Future = CheckedFuture<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        CheckedFuture {
            inner: self.inner.call(request),
            max: self.max,
        }
    }
}

/// The future of a [`CheckedChannel`].
#[pin_project]
pub(crate) struct CheckedFuture<F> {
    #[pin]
    inner: F,
    max: usize,
}

impl<F, B, E> Future for CheckedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<MessageLimitBody<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx)).map_err(Into::into)?;
        // tonic would drop the extensions of a response with an error. A layer of the client that rejected the call put this there; it
        // does not come over the wire.
        if let Some(rejection) = response.extensions_mut().remove::<Rejection>()
            && is_error(&response)
        {
            return Poll::Ready(Err(status(rejection).into()));
        }
        if is_of_another_protocol(&response) {
            return Poll::Ready(Err(http_status(response.status()).into()));
        }
        remove_invalid_details(response.headers_mut());
        let max = *this.max;
        Poll::Ready(Ok(response.map(|body| MessageLimitBody::new(body, max))))
    }
}

/// Returns true for the response of a proxy, with a body that is no gRPC.
fn is_of_another_protocol<B>(response: &Response<B>) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_grpc = content_type.is_some_and(|value| value.as_bytes().starts_with(GRPC));
    !is_grpc && !response.headers().contains_key(Status::GRPC_STATUS)
}

/// Returns true if the head says that the call failed.
fn is_error<B>(response: &Response<B>) -> bool {
    match response.headers().get(Status::GRPC_STATUS) {
        Some(code) => code != "0",
        None => !response.status().is_success(),
    }
}
