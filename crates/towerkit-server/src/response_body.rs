use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project::pin_project;
use towerkit_core::BoxError;

use crate::activity::InFlight;

/// The body of a response, which keeps its call in flight until it is dropped.
#[pin_project]
pub(crate) struct ResponseBody<B> {
    #[pin]
    inner: Inner<B>,
    call: InFlight,
    /// Whether the transport may leave a frame of this body waiting although the connection takes bytes, as HTTP/2 does.
    has_own_window: bool,
}

#[pin_project(project = InnerProjection)]
enum Inner<B> {
    OfService(#[pin] B),
    OfServer(#[pin] Full<Bytes>),
}

impl<B> ResponseBody<B> {
    pub(crate) fn of_service(body: B, call: InFlight, has_own_window: bool) -> Self {
        Self {
            inner: Inner::OfService(body),
            call,
            has_own_window,
        }
    }

    pub(crate) fn of_server(body: Full<Bytes>, call: InFlight, has_own_window: bool) -> Self {
        Self {
            inner: Inner::OfServer(body),
            call,
            has_own_window,
        }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let polled = match this.inner.project() {
            InnerProjection::OfService(body) => body.poll_frame(cx).map_err(Into::into),
            InnerProjection::OfServer(body) => body.poll_frame(cx).map_err(Into::into),
        };
        if *this.has_own_window {
            // The transport asks for the next frame once it has room for it.
            this.call.set_blocked(polled.is_ready());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::OfService(body) => body.is_end_stream(),
            Inner::OfServer(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::OfService(body) => body.size_hint(),
            Inner::OfServer(body) => body.size_hint(),
        }
    }
}
