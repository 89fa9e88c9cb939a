use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::collected_body::size_hint_after;

/// A request body that records its frames while an attempt reads them.
///
/// The recording holds references to the same [`Bytes`], and no copies. An attempt that is dropped half read leaves the rest of the
/// body to the next attempt.
pub struct RecordedBody<B> {
    /// The unread rest of the original body, unless another attempt reads it.
    source: Option<B>,
    progress: Option<Progress<B>>,
}

/// The frames recorded from a request body of type `B`, from which further attempts are made.
///
/// A recording ends, and the body can no longer be replayed, once it exceeds its limit of bytes, 1,024 frames, or the length that its
/// request declares. The running attempt still gets the whole body.
///
/// Implementations of [`ReplayBody`](crate::ReplayBody) for boxed bodies use this type as their
/// [`Recording`](crate::ReplayBody::Recording).
pub struct BodyRecording<B> {
    /// `None` for an empty body.
    frames: Option<Arc<Mutex<Frames<B>>>>,
}

/// The position of one attempt in the recording that all attempts share.
struct Progress<B> {
    recording: Arc<Mutex<Frames<B>>>,
    /// The number of frames that this attempt has delivered, and their bytes.
    frames: usize,
    bytes: u64,
    trailers: bool,
}

/// The recorded frames, and the state of the unread rest.
struct Frames<B> {
    data: Vec<Bytes>,
    bytes: u64,
    trailers: Option<HeaderMap>,
    max_bytes: u64,
    /// The length of the whole body, if the head declares it.
    content_length: Option<u64>,
    rest: Rest<B>,
}

enum Rest<B> {
    /// The next attempt reads on from here.
    Unread(B),
    /// The current attempt reads it.
    Reading,
    /// The recording is complete.
    Complete,
    /// The body exceeded a limit or broke off: it cannot be replayed.
    Lost,
}

/// The limit on recorded frames: each holds a handle, and may keep a larger buffer alive.
const MAX_FRAMES: usize = 1024;

impl<B: Body<Data = Bytes> + Unpin> BodyRecording<B> {
    /// Starts to record a body; `wrap` makes the body of the first attempt, usually a box around the [`RecordedBody`].
    ///
    /// An empty body is returned as it is.
    pub fn start(
        body: B,
        max_bytes: u64,
        content_length: Option<u64>,
        wrap: impl FnOnce(RecordedBody<B>) -> B,
    ) -> (B, Self) {
        if body.is_end_stream() {
            return (body, Self { frames: None });
        }
        let recording = Arc::new(Mutex::new(Frames::new(max_bytes, content_length)));
        let first = RecordedBody::new(Some(body), recording.clone());
        let frames = Some(recording);
        (wrap(first), Self { frames })
    }

    /// Makes the body of a further attempt.
    ///
    /// Returns `None` if the recording was lost, or if an earlier attempt still reads the original body.
    pub fn replay(&self, wrap: impl FnOnce(RecordedBody<B>) -> B) -> Option<B> {
        let body = match &self.frames {
            None => RecordedBody::empty(),
            Some(recording) => RecordedBody::new(lock(recording).take_rest()?, recording.clone()),
        };
        Some(wrap(body))
    }
}

impl<B> Frames<B> {
    fn new(max_bytes: u64, content_length: Option<u64>) -> Self {
        Self {
            data: Vec::new(),
            bytes: 0,
            trailers: None,
            max_bytes,
            content_length,
            rest: Rest::Reading,
        }
    }

    /// Gives the unread rest to a further attempt: `Some(None)` once the recording is complete, `None` if no attempt can be made.
    fn take_rest(&mut self) -> Option<Option<B>> {
        match mem::replace(&mut self.rest, Rest::Reading) {
            Rest::Unread(source) => Some(Some(source)),
            Rest::Complete => {
                self.rest = Rest::Complete;
                Some(None)
            }
            other => {
                self.rest = other;
                None
            }
        }
    }

    /// Records a frame of the original body, and returns true if recording goes on.
    fn record(&mut self, frame: &Frame<Bytes>) -> bool {
        if let Some(data) = frame.data_ref() {
            // An empty frame need not be sent again.
            if !data.is_empty() {
                self.bytes += data.len() as u64;
                self.data.push(data.clone());
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
            return self.complete();
        } else {
            return self.lose();
        }
        (self.bytes <= self.max_bytes && self.data.len() <= MAX_FRAMES) || self.lose()
    }

    /// Ends the recording at the end of the body, which is lost if it is not as long as its head declares.
    fn complete(&mut self) -> bool {
        if self
            .content_length
            .is_some_and(|length| length != self.bytes)
        {
            return self.lose();
        }
        self.rest = Rest::Complete;
        true
    }

    #[cold]
    fn lose(&mut self) -> bool {
        self.data = Vec::new();
        self.rest = Rest::Lost;
        false
    }
}

impl<B> RecordedBody<B> {
    fn empty() -> Self {
        Self {
            source: None,
            progress: None,
        }
    }

    fn new(source: Option<B>, recording: Arc<Mutex<Frames<B>>>) -> Self {
        Self {
            source,
            progress: Some(Progress {
                recording,
                frames: 0,
                bytes: 0,
                trailers: false,
            }),
        }
    }
}

impl<B> Progress<B> {
    /// Returns the next frame that an earlier attempt has recorded.
    fn next_recorded(&mut self) -> Option<Frame<Bytes>> {
        let recording = lock(&self.recording);
        if let Some(data) = recording.data.get(self.frames) {
            self.frames += 1;
            self.bytes += data.len() as u64;
            return Some(Frame::data(data.clone()));
        }
        if self.trailers || !matches!(recording.rest, Rest::Complete) {
            return None;
        }
        self.trailers = true;
        recording.trailers.clone().map(Frame::trailers)
    }

    /// Records a frame that was just read from the original body, and returns true if recording goes on.
    fn record<E>(&mut self, frame: Option<&Result<Frame<Bytes>, E>>) -> bool {
        let mut recording = lock(&self.recording);
        match frame {
            Some(Ok(frame)) => {
                let goes_on = recording.record(frame);
                self.frames = recording.data.len();
                self.bytes = recording.bytes;
                self.trailers = frame.is_trailers();
                goes_on
            }
            Some(Err(_)) => recording.lose(),
            None => {
                self.trailers = true;
                recording.complete()
            }
        }
    }

    fn is_delivered(&self) -> bool {
        let recording = lock(&self.recording);
        self.frames == recording.data.len() && (self.trailers || recording.trailers.is_none())
    }

    /// Returns the number of recorded bytes that this attempt has not delivered yet.
    fn bytes_ahead(&self) -> u64 {
        lock(&self.recording).bytes - self.bytes
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for RecordedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if let Some(frame) = this.progress.as_mut().and_then(Progress::next_recorded) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(source) = &mut this.source else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(source).poll_frame(cx));
        if let Some(progress) = &mut this.progress
            && !progress.record(frame.as_ref())
        {
            this.progress = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let is_over = self.source.as_ref().is_none_or(Body::is_end_stream);
        is_over && self.progress.as_ref().is_none_or(Progress::is_delivered)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.progress.as_ref().map_or(0, Progress::bytes_ahead);
        let rest = match &self.source {
            Some(source) => source.size_hint(),
            None => SizeHint::with_exact(0),
        };
        size_hint_after(ahead, &rest)
    }
}

/// Leaves the unread rest of the body to the next attempt.
impl<B> Drop for RecordedBody<B> {
    fn drop(&mut self) {
        if let (Some(source), Some(progress)) = (self.source.take(), &self.progress) {
            let mut recording = lock(&progress.recording);
            if matches!(recording.rest, Rest::Reading) {
                recording.rest = Rest::Unread(source);
            }
        }
    }
}

fn lock<B>(recording: &Mutex<Frames<B>>) -> MutexGuard<'_, Frames<B>> {
    recording.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> fmt::Debug for RecordedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedBody").finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for BodyRecording<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyRecording").finish_non_exhaustive()
    }
}
