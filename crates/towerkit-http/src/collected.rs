use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};

/// A response body that was read ahead, as a whole or in part, so that it may be given to more than one caller.
///
/// Reading it gives what was read, in one piece, and then what is left of the body.
pub struct CollectedBody<B: Body> {
    data: Bytes,
    trailers: Option<HeaderMap>,
    rest: Rest<B>,
}

enum Rest<B: Body> {
    /// All has been read.
    Over,
    /// The body is over, and is not as long as declared: its caller gets it as it is, and nobody else does.
    NotWhole,
    /// Reading broke off.
    Broken(B::Error),
    /// To be read on.
    Left(B),
}

impl<B: Body> CollectedBody<B> {
    /// A body that was not read.
    pub(crate) fn unread(body: B) -> Self {
        Self::new(Bytes::new(), None, Rest::Left(body))
    }

    fn new(data: Bytes, trailers: Option<HeaderMap>, rest: Rest<B>) -> Self {
        Self {
            data,
            trailers,
            rest,
        }
    }

    pub(crate) fn keep(response: &Response<Self>) -> Option<KeptResponse> {
        let body = response.body();
        if !matches!(body.rest, Rest::Over) {
            return None;
        }
        // What other layers attached belongs to the call that was made, and not to those that get a copy.
        let mut head = Response::new(body.data.clone());
        *head.status_mut() = response.status();
        *head.version_mut() = response.version();
        *head.headers_mut() = response.headers().clone();
        Some(KeptResponse {
            head,
            trailers: body.trailers.clone(),
        })
    }
}

/// A response that is kept to make copies of: its head without extensions, its body, its trailers.
pub struct KeptResponse {
    head: Response<Bytes>,
    trailers: Option<HeaderMap>,
}

impl KeptResponse {
    pub(crate) fn again<B: Body>(&self) -> Response<CollectedBody<B>> {
        let trailers = self.trailers.clone();
        let response = self.head.clone();
        response.map(|data| CollectedBody::new(data, trailers, Rest::Over))
    }

    /// Returns the bytes that it takes, about.
    #[must_use]
    pub fn size(&self) -> usize {
        let trailers = self.trailers.as_ref().map_or(0, fields);
        size_of::<Self>() + self.head.body().len() + fields(self.head.headers()) + trailers
    }
}

/// The bytes of header fields, with what a map of them takes besides.
fn fields(headers: &HeaderMap) -> usize {
    const EACH: usize = 2 * size_of::<Bytes>() + 24;
    let of_one = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        EACH + name.as_str().len() + value.len()
    };
    headers.iter().map(of_one).sum()
}

/// Reads a body ahead.
pub(crate) struct Reading<B> {
    body: B,
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    limit: usize,
}

/// How many frames are read in one poll, so that a body which has always another does not keep a thread to itself.
const FRAMES: usize = 32;

/// Why reading stopped.
pub(crate) enum Stop<E> {
    /// At the end of the body.
    Over,
    /// At an error.
    Broken(E),
    /// Over the limit.
    Full,
}

impl<B: Body + Unpin> Reading<B> {
    /// Reads up to `limit` bytes, and the frame that is too much.
    pub(crate) fn new(body: B, limit: usize) -> Self {
        let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        Self {
            body,
            data: Vec::with_capacity(expected.min(limit)),
            trailers: None,
            limit,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Stop<B::Error>> {
        for _ in 0..FRAMES {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(Stop::Over),
                Some(Err(error)) => return Poll::Ready(Stop::Broken(error)),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => self.append(data),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
            if self.data.len() > self.limit {
                return Poll::Ready(Stop::Full);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.data.len() as u64
    }

    fn append(&mut self, mut data: B::Data) {
        while data.has_remaining() {
            let chunk = data.chunk();
            let length = chunk.len();
            self.data.extend_from_slice(chunk);
            data.advance(length);
        }
    }

    pub(crate) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// Makes a body of what was read and what is left.
    pub(crate) fn into_body(self, stop: Stop<B::Error>, is_whole: bool) -> CollectedBody<B> {
        let rest = match stop {
            Stop::Over if is_whole => Rest::Over,
            Stop::Over => Rest::NotWhole,
            Stop::Broken(error) => Rest::Broken(error),
            Stop::Full => Rest::Left(self.body),
        };
        // Boxed first, so that what is kept is no longer than what was read.
        let data = Bytes::from(self.data.into_boxed_slice());
        CollectedBody::new(data, self.trailers, rest)
    }
}

/// Only the body itself is ever pinned, and that can be moved.
impl<B: Body + Unpin> Unpin for CollectedBody<B> {}

impl<B: Body + Unpin> Body for CollectedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let me = &mut *self;
        if !me.data.is_empty() {
            let data = mem::take(&mut me.data);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Rest::Left(body) = &mut me.rest {
            let frame = ready!(Pin::new(body).poll_frame(cx));
            let in_bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
            return Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(in_bytes))));
        }
        if matches!(me.rest, Rest::Broken(_))
            && let Rest::Broken(error) = mem::replace(&mut me.rest, Rest::NotWhole)
        {
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(me.trailers.take().map(Frame::trailers).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        let is_over = match &self.rest {
            Rest::Over | Rest::NotWhole => self.trailers.is_none(),
            Rest::Broken(_) => false,
            Rest::Left(body) => body.is_end_stream(),
        };
        is_over && self.data.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.data.len() as u64;
        let rest = match &self.rest {
            Rest::Over => SizeHint::with_exact(0),
            Rest::Broken(_) | Rest::NotWhole => SizeHint::new(),
            Rest::Left(body) => body.size_hint(),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(ahead)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B: Body> fmt::Debug for CollectedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectedBody")
            .field("read", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeptResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptResponse")
            .field("status", &self.head.status())
            .field("body", &self.head.body().len())
            .finish_non_exhaustive()
    }
}
