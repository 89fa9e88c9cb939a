use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Request, request::Parts};
use http_body::{Body, Frame, SizeHint};

use crate::fields;

/// A request body that can be sent again.
///
/// What has been read is kept, as references to the same bytes, until the body is over its cap or has more than 1,024 frames: from
/// then on it can be read to its end but not sent again. Nor can a body that is not as long as its request declares. A body that is
/// dropped half read leaves the rest to the next attempt.
pub struct ReplayBody<B> {
    /// What is still to be read, unless another attempt has it.
    source: Option<B>,
    record: Option<Record<B>>,
}

/// What an attempt shares with those after it, and how far it has come.
struct Record<B> {
    kept: Arc<Mutex<KeptBody<B>>>,
    /// The frames that this attempt has delivered, and their bytes.
    frames: usize,
    bytes: u64,
    trailers: bool,
}

/// What has been read of a body so far.
struct KeptBody<B> {
    frames: Vec<Bytes>,
    bytes: u64,
    trailers: Option<HeaderMap>,
    cap: u64,
    /// The length of a whole body, where the head declares it.
    declared: Option<u64>,
    rest: Rest<B>,
}

enum Rest<B> {
    /// To be read on by the next attempt.
    Left(B),
    /// Being read by the current attempt.
    Lent,
    /// All is kept.
    Over,
    /// It was more than the cap, or it broke off: there is no sending it again.
    Lost,
}

/// A request that can be sent again: its head, and what is kept of its body.
pub struct KeptRequest<B> {
    head: Parts,
    /// `None` for a request without a body.
    body: Option<Arc<Mutex<KeptBody<B>>>>,
}

impl<B: Body<Data = Bytes> + Unpin> KeptRequest<B> {
    /// Makes the first attempt, and keeps the request unless it declares a body of more than `cap` bytes.
    pub(crate) fn keep(request: Request<B>, cap: usize) -> (Request<ReplayBody<B>>, Option<Self>) {
        let cap = u64::try_from(cap).unwrap_or(u64::MAX);
        let body = request.body();
        if body.size_hint().lower() > cap {
            return (request.map(ReplayBody::once), None);
        }
        let (head, body) = request.into_parts();
        if body.is_end_stream() {
            let attempt = Request::from_parts(head.clone(), ReplayBody::once(body));
            return (attempt, Some(Self { head, body: None }));
        }
        let declared = fields::content_length(&head.headers);
        let kept = Arc::new(Mutex::new(KeptBody::new(cap, declared)));
        let first = ReplayBody::recorded(Some(body), kept.clone());
        let attempt = Request::from_parts(head.clone(), first);
        let body = Some(kept);
        (attempt, Some(Self { head, body }))
    }

    /// Makes a further attempt, if all of the body is kept or nobody reads it.
    pub(crate) fn again(&self) -> Option<Request<ReplayBody<B>>> {
        let body = match &self.body {
            None => ReplayBody::nothing(),
            Some(kept) => ReplayBody::recorded(lock(kept).lend()?, kept.clone()),
        };
        Some(Request::from_parts(self.head.clone(), body))
    }
}

/// Each frame takes a handle to bytes, and may keep a larger buffer alive.
const MAX_FRAMES: usize = 1024;

impl<B> KeptBody<B> {
    fn new(cap: u64, declared: Option<u64>) -> Self {
        Self {
            frames: Vec::new(),
            bytes: 0,
            trailers: None,
            cap,
            declared,
            rest: Rest::Lent,
        }
    }

    /// Gives what is left to a further attempt, which is nothing once all is kept. `None` if there can be no further attempt.
    fn lend(&mut self) -> Option<Option<B>> {
        match mem::replace(&mut self.rest, Rest::Lent) {
            Rest::Left(source) => Some(Some(source)),
            Rest::Over => {
                self.rest = Rest::Over;
                Some(None)
            }
            other => {
                self.rest = other;
                None
            }
        }
    }

    /// Keeps a frame that was read from the source; returns whether there is still any use in keeping.
    fn record(&mut self, frame: &Frame<Bytes>) -> bool {
        if let Some(data) = frame.data_ref() {
            // An empty frame is nothing to send again.
            if !data.is_empty() {
                self.bytes += data.len() as u64;
                self.frames.push(data.clone());
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
            return self.end();
        } else {
            return self.lose();
        }
        (self.bytes <= self.cap && self.frames.len() <= MAX_FRAMES) || self.lose()
    }

    /// The body is over: all of it is kept, unless it has broken off.
    fn end(&mut self) -> bool {
        if self.declared.is_some_and(|length| length != self.bytes) {
            return self.lose();
        }
        self.rest = Rest::Over;
        true
    }

    #[cold]
    fn lose(&mut self) -> bool {
        self.frames = Vec::new();
        self.rest = Rest::Lost;
        false
    }
}

impl<B> ReplayBody<B> {
    /// A body that is sent once and not kept.
    pub(crate) fn once(body: B) -> Self {
        Self {
            source: Some(body),
            record: None,
        }
    }

    fn nothing() -> Self {
        Self {
            source: None,
            record: None,
        }
    }

    fn recorded(source: Option<B>, kept: Arc<Mutex<KeptBody<B>>>) -> Self {
        Self {
            source,
            record: Some(Record {
                kept,
                frames: 0,
                bytes: 0,
                trailers: false,
            }),
        }
    }
}

impl<B> Record<B> {
    /// Returns the next frame that an earlier attempt has read.
    fn replay(&mut self) -> Option<Frame<Bytes>> {
        let kept = lock(&self.kept);
        if let Some(data) = kept.frames.get(self.frames) {
            self.frames += 1;
            self.bytes += data.len() as u64;
            return Some(Frame::data(data.clone()));
        }
        if self.trailers || !matches!(kept.rest, Rest::Over) {
            return None;
        }
        self.trailers = true;
        kept.trailers.clone().map(Frame::trailers)
    }

    /// Keeps what was just read from the source, and delivered; returns whether to go on keeping.
    fn record<E>(&mut self, frame: Option<&Result<Frame<Bytes>, E>>) -> bool {
        let mut kept = lock(&self.kept);
        match frame {
            Some(Ok(frame)) => {
                let goes_on = kept.record(frame);
                self.frames = kept.frames.len();
                self.bytes = kept.bytes;
                self.trailers = frame.is_trailers();
                goes_on
            }
            Some(Err(_)) => kept.lose(),
            None => {
                self.trailers = true;
                kept.end()
            }
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let me = &mut *self;
        if let Some(frame) = me.record.as_mut().and_then(Record::replay) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(source) = &mut me.source else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(source).poll_frame(cx));
        if let Some(record) = &mut me.record
            && !record.record(frame.as_ref())
        {
            me.record = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let is_over = self.source.as_ref().is_none_or(Body::is_end_stream);
        is_over && self.record.as_ref().is_none_or(Record::is_delivered)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.record.as_ref().map_or(0, Record::bytes_ahead);
        let rest = match &self.source {
            Some(source) => source.size_hint(),
            None => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(ahead)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B> Record<B> {
    fn is_delivered(&self) -> bool {
        let kept = lock(&self.kept);
        self.frames == kept.frames.len() && (self.trailers || kept.trailers.is_none())
    }

    fn bytes_ahead(&self) -> u64 {
        lock(&self.kept).bytes - self.bytes
    }
}

/// An attempt that ends early leaves what it has not read to the next.
impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        if let (Some(source), Some(record)) = (self.source.take(), &self.record) {
            let mut kept = lock(&record.kept);
            if matches!(kept.rest, Rest::Lent) {
                kept.rest = Rest::Left(source);
            }
        }
    }
}

fn lock<B>(kept: &Mutex<KeptBody<B>>) -> MutexGuard<'_, KeptBody<B>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for KeptRequest<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptRequest").finish_non_exhaustive()
    }
}
