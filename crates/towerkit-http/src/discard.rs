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

macro_rules! discards {
    ([$($generics:tt)*] $exchange:ty) => {
        impl<B: Body, $($generics)*> DrainResponse<Response<B>> for $exchange {
            type Drain = Discarded<B>;

            fn drain(&self, response: Response<B>) -> Discarded<B> {
                Discarded::new(response)
            }
        }
    };
}

discards!([C, K] HttpExchange<C, K>);
discards!([K] GrpcExchange<K>);

/// Reads what is left of a response body that nobody wants, up to 64 KiB in 64 frames, and drops it.
///
/// An HTTP/1 connection is used again only if the response on it was read to its end. Over HTTP/2, where a body that is dropped
/// costs nothing but its stream, the body is dropped at once, and so is one that declares to be longer.
#[pin_project]
pub struct Discarded<B> {
    #[pin]
    body: Option<B>,
    bytes: u64,
    frames: u32,
}

const BYTES: u64 = 64 * 1024;
const FRAMES: u32 = 64;

impl<B: Body> Discarded<B> {
    fn new(response: Response<B>) -> Self {
        let is_worth_it = response.version() < Version::HTTP_2;
        let body = response.into_body();
        let is_short = body.size_hint().lower() <= BYTES;
        Self {
            body: (is_worth_it && is_short).then_some(body),
            bytes: 0,
            frames: 0,
        }
    }
}

impl<B: Body> Future for Discarded<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut me = self.project();
        while let Some(body) = me.body.as_mut().as_pin_mut() {
            let frame = ready!(body.poll_frame(cx));
            *me.frames += 1;
            let data = frame
                .as_ref()
                .and_then(|frame| frame.as_ref().ok()?.data_ref());
            *me.bytes += data.map_or(0, |data| data.remaining() as u64);
            let goes_on = matches!(frame, Some(Ok(_))) && *me.frames < FRAMES && *me.bytes <= BYTES;
            if !goes_on {
                me.body.set(None);
            }
        }
        Poll::Ready(())
    }
}

impl<B> fmt::Debug for Discarded<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discarded")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
