use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http::{Response, Version};
use http_body::Body;
use pin_project::pin_project;
use towerkit_core::DrainResponse;

use crate::{GrpcExchange, HttpExchange};

macro_rules! drain_responses {
    ([$($generics:tt)*] $exchange:ty) => {
        impl<B: Body, $($generics)*> DrainResponse<Response<B>> for $exchange {
            type Drain = DrainFuture<B>;

            fn drain(&self, response: Response<B>) -> DrainFuture<B> {
                DrainFuture::new(response)
            }
        }
    };
}

drain_responses!([C, K, W] HttpExchange<C, K, W>);
drain_responses!([K] GrpcExchange<K>);

/// Reads the rest of an unused response body, up to 64 KiB in 64 frames, and drops it.
///
/// An HTTP/1 connection is used again only if the response on it was read to its end. A body over HTTP/2, which does not block its
/// connection, and a body that declares to be longer are dropped at once.
#[pin_project]
pub struct DrainFuture<B> {
    #[pin]
    body: Option<B>,
    bytes: u64,
    frames: u32,
}

const MAX_BYTES: u64 = 64 * 1024;
const MAX_FRAMES: u32 = 64;

impl<B: Body> DrainFuture<B> {
    fn new(response: Response<B>) -> Self {
        let blocks_connection = response.version() < Version::HTTP_2;
        let body = response.into_body();
        let is_short = body.size_hint().lower() <= MAX_BYTES;
        Self {
            body: (blocks_connection && is_short).then_some(body),
            bytes: 0,
            frames: 0,
        }
    }
}

impl<B: Body> Future for DrainFuture<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        while let Some(body) = this.body.as_mut().as_pin_mut() {
            let frame = ready!(body.poll_frame(cx));
            *this.frames += 1;
            let data = frame
                .as_ref()
                .and_then(|frame| frame.as_ref().ok()?.data_ref());
            *this.bytes += data.map_or(0, |data| data.remaining() as u64);
            let goes_on = matches!(frame, Some(Ok(_)))
                && *this.frames < MAX_FRAMES
                && *this.bytes <= MAX_BYTES;
            if !goes_on {
                this.body.set(None);
            }
        }
        Poll::Ready(())
    }
}

impl<B> fmt::Debug for DrainFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainFuture")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
