use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use pin_project::pin_project;

/// The largest number of frames that one poll reads, so that a body of many small frames does not keep its thread.
const FRAMES_PER_POLL: usize = 64;

/// Reads a body up to a limit, without a copy if it is one frame. Trailers are dropped, and a body whose declared length is over the
/// limit is not read.
#[doc(hidden)]
#[pin_project]
pub struct ReadBody<B> {
    #[pin]
    body: B,
    limit: usize,
    read: Read,
}

enum Read {
    /// The only frame so far.
    Frame(Bytes),
    Frames(BytesMut),
}

/// The error of [`ReadBody`].
#[doc(hidden)]
#[derive(Debug)]
pub enum ReadBodyError<E> {
    /// The body is longer than the limit.
    TooLong,
    /// The body ended with this error.
    Body(E),
}

impl<B: Body> ReadBody<B> {
    /// Reads a body of at most this number of bytes.
    pub fn new(body: B, limit: usize) -> Self {
        Self {
            body,
            limit,
            read: Read::Frame(Bytes::new()),
        }
    }
}

impl Read {
    fn len(&self) -> usize {
        match self {
            Self::Frame(bytes) => bytes.len(),
            Self::Frames(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, mut data: impl Buf) {
        if !data.has_remaining() {
            return;
        }
        match self {
            Self::Frame(first) if first.is_empty() => {
                *first = data.copy_to_bytes(data.remaining());
            }
            Self::Frame(first) => {
                let mut all = BytesMut::with_capacity(first.len() + data.remaining());
                all.extend_from_slice(first);
                *self = Self::Frames(all);
                self.push(data);
            }
            Self::Frames(all) => bytes::BufMut::put(all, data),
        }
    }

    fn take(&mut self) -> Bytes {
        match mem::replace(self, Self::Frame(Bytes::new())) {
            Self::Frame(bytes) => bytes,
            Self::Frames(bytes) => bytes.freeze(),
        }
    }
}

impl<B: Body> Future for ReadBody<B> {
    type Output = Result<Bytes, ReadBodyError<B::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        let left = *me.limit - me.read.len();
        if me.body.size_hint().lower() > left as u64 {
            return Poll::Ready(Err(ReadBodyError::TooLong));
        }
        for _ in 0..FRAMES_PER_POLL {
            let Some(frame) = ready!(me.body.as_mut().poll_frame(cx)) else {
                return Poll::Ready(Ok(me.read.take()));
            };
            let frame = frame.map_err(ReadBodyError::Body)?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if data.remaining() > *me.limit - me.read.len() {
                return Poll::Ready(Err(ReadBodyError::TooLong));
            }
            me.read.push(data);
        }
        // Frames were read, and the next one is read at the next poll.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<B> fmt::Debug for ReadBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadBody")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::StreamBody;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn body(frames: Vec<Vec<u8>>) -> impl Body<Data = Bytes, Error = Infallible> {
        let frames = frames.into_iter().map(|data| Ok(Frame::data(data.into())));
        StreamBody::new(futures_util::stream::iter(frames))
    }

    async fn read(frames: Vec<Vec<u8>>, limit: usize) -> Option<Bytes> {
        ReadBody::new(body(frames), limit).await.ok()
    }

    proptest! {
        #[test]
        fn a_body_is_read_if_it_is_within_the_limit(
            frames in vec(vec(any::<u8>(), 0..5), 0..200),
            limit in 0_usize..400,
        ) {
            let all = frames.concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(read(frames, limit));
            let expected = (all.len() <= limit).then_some(all);
            prop_assert_eq!(read.map(Vec::from), expected);
        }
    }

    #[tokio::test]
    async fn one_poll_reads_a_bounded_number_of_frames() {
        let mut reading = ReadBody::new(body(vec![Vec::new(); 10 * FRAMES_PER_POLL]), 0);
        let mut polls = 0;
        std::future::poll_fn(|cx| {
            polls += 1;
            Pin::new(&mut reading).poll(cx)
        })
        .await
        .ok()
        .unwrap();
        assert!(polls >= 10);
    }
}
