use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};

/// A response body that was read ahead, completely or in part, so that several callers may share it.
///
/// It yields the collected data as one frame, and then the unread rest of the body.
pub struct CollectedBody<B: Body> {
    data: Bytes,
    trailers: Option<HeaderMap>,
    rest: Rest<B>,
}

enum Rest<B: Body> {
    /// The body was read completely.
    Complete,
    /// The body ended with another length than declared: its own caller gets it as it is, and it is not shared.
    WrongLength,
    /// The body failed.
    Failed(B::Error),
    /// The body was too long, and its rest is unread.
    Unread(B),
}

impl<B: Body> CollectedBody<B> {
    /// Makes a body that was not read.
    pub(crate) fn unread(body: B) -> Self {
        Self::new(Bytes::new(), None, Rest::Unread(body))
    }

    fn new(data: Bytes, trailers: Option<HeaderMap>, rest: Rest<B>) -> Self {
        Self {
            data,
            trailers,
            rest,
        }
    }

    /// Makes a response to share, if the body was read completely.
    pub(crate) fn share(response: &Response<Self>) -> Option<SharedResponse> {
        let body = response.body();
        if !matches!(body.rest, Rest::Complete) {
            return None;
        }
        // Extensions belong to the call that was made, and not to the callers that get a copy.
        let mut head = Response::new(body.data.clone());
        *head.status_mut() = response.status();
        *head.version_mut() = response.version();
        *head.headers_mut() = response.headers().clone();
        Some(SharedResponse {
            head,
            trailers: body.trailers.clone(),
        })
    }
}

/// A response of which callers get copies: its head without extensions, its body and its trailers.
pub struct SharedResponse {
    head: Response<Bytes>,
    trailers: Option<HeaderMap>,
}

impl SharedResponse {
    pub(crate) fn copy<B: Body>(&self) -> Response<CollectedBody<B>> {
        let trailers = self.trailers.clone();
        let response = self.head.clone();
        response.map(|data| CollectedBody::new(data, trailers, Rest::Complete))
    }

    /// Returns the approximate size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let trailers = self.trailers.as_ref().map_or(0, headers_size);
        size_of::<Self>() + self.head.body().len() + headers_size(self.head.headers()) + trailers
    }
}

/// Returns the size of headers in bytes, including the overhead of their map.
fn headers_size(headers: &HeaderMap) -> usize {
    const EACH: usize = 2 * size_of::<Bytes>() + 24;
    let of_one = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        EACH + name.as_str().len() + value.len()
    };
    headers.iter().map(of_one).sum()
}

/// Reads a body ahead, up to a limit.
pub(crate) struct BodyReader<B> {
    body: B,
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    limit: usize,
}

/// The limit on frames in one poll, so that a body that is always ready does not block its thread.
const FRAMES_PER_POLL: usize = 32;

/// The reason why reading stopped.
pub(crate) enum ReadEnd<E> {
    /// The body ended.
    Complete,
    /// The body failed.
    Failed(E),
    /// The body exceeds the limit.
    TooLong,
}

impl<B: Body + Unpin> BodyReader<B> {
    /// Starts to read up to `limit` bytes, plus the frame that exceeds them.
    pub(crate) fn new(body: B, limit: usize) -> Self {
        let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        Self {
            body,
            data: Vec::with_capacity(expected.min(limit)),
            trailers: None,
            limit,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ReadEnd<B::Error>> {
        for _ in 0..FRAMES_PER_POLL {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(ReadEnd::Complete),
                Some(Err(error)) => return Poll::Ready(ReadEnd::Failed(error)),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => self.append(data),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
            if self.data.len() > self.limit {
                return Poll::Ready(ReadEnd::TooLong);
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

    /// Makes a body of the data that was read and the unread rest.
    pub(crate) fn into_body(self, end: ReadEnd<B::Error>, is_whole: bool) -> CollectedBody<B> {
        let rest = match end {
            ReadEnd::Complete if is_whole => Rest::Complete,
            ReadEnd::Complete => Rest::WrongLength,
            ReadEnd::Failed(error) => Rest::Failed(error),
            ReadEnd::TooLong => Rest::Unread(self.body),
        };
        // Boxed first, which frees the unused capacity.
        let data = Bytes::from(self.data.into_boxed_slice());
        CollectedBody::new(data, self.trailers, rest)
    }
}

/// Only the body itself is pinned, and it is `Unpin`.
impl<B: Body + Unpin> Unpin for CollectedBody<B> {}

impl<B: Body + Unpin> Body for CollectedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if !this.data.is_empty() {
            let data = mem::take(&mut this.data);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Rest::Unread(body) = &mut this.rest {
            let frame = ready!(Pin::new(body).poll_frame(cx));
            let in_bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
            return Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(in_bytes))));
        }
        if matches!(this.rest, Rest::Failed(_))
            && let Rest::Failed(error) = mem::replace(&mut this.rest, Rest::WrongLength)
        {
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(this.trailers.take().map(Frame::trailers).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        let is_over = match &self.rest {
            Rest::Complete | Rest::WrongLength => self.trailers.is_none(),
            Rest::Failed(_) => false,
            Rest::Unread(body) => body.is_end_stream(),
        };
        is_over && self.data.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.data.len() as u64;
        let rest = match &self.rest {
            Rest::Complete => SizeHint::with_exact(0),
            Rest::Failed(_) | Rest::WrongLength => SizeHint::new(),
            Rest::Unread(body) => body.size_hint(),
        };
        size_hint_after(ahead, &rest)
    }
}

/// Returns the size hint of a body that has `ahead` bytes in memory before a rest with its own hint.
pub(crate) fn size_hint_after(ahead: u64, rest: &SizeHint) -> SizeHint {
    let mut hint = SizeHint::new();
    hint.set_lower(rest.lower().saturating_add(ahead));
    if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(ahead)) {
        hint.set_upper(upper);
    }
    hint
}

impl<B: Body> fmt::Debug for CollectedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectedBody")
            .field("read", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedResponse")
            .field("status", &self.head.status())
            .field("body", &self.head.body().len())
            .finish_non_exhaustive()
    }
}
