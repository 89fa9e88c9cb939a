use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::connection_timer::PROGRESS;

/// The body of a request, as the server passes it to the service.
///
/// Reading it fails with a [`RequestBodyError`] if the connection breaks, or if the client stalls for
/// [`body_timeout`](crate::Server::body_timeout). Convert it by `Request::map` for services that expect another type, such as
/// `axum::body::Body`; axum's `Router` and tonic's `Routes` take it as it is.
pub struct RequestBody {
    /// `None` only after the drop.
    incoming: Option<Incoming>,
    stall: Option<Stall>,
}

/// The limit of a body, and its timer from the first time on that it has to be waited for.
struct Stall {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// The bytes that have arrived since the timer was set.
    progress: u64,
    shared: SharedBody,
}

/// The parts of a request body that its call reads when there is a response.
#[derive(Debug, Clone)]
pub(crate) struct SharedBody(Arc<BodyParts>);

#[derive(Debug)]
struct BodyParts {
    stalled: AtomicBool,
    /// True if the rest of the body is read after the service has dropped it.
    keeps_unread: bool,
    unread: Mutex<Option<Incoming>>,
}

impl SharedBody {
    pub(crate) fn new(keeps_unread: bool) -> Self {
        Self(Arc::new(BodyParts {
            stalled: AtomicBool::new(false),
            keeps_unread,
            unread: Mutex::default(),
        }))
    }

    // Relaxed: the body is read by the service, whose response is looked at after.
    pub(crate) fn has_stalled(&self) -> bool {
        self.0.stalled.load(Ordering::Relaxed)
    }

    fn set_stalled(&self) {
        self.0.stalled.store(true, Ordering::Relaxed);
    }

    /// Takes the body, if the service has dropped it before its end.
    pub(crate) fn take_unread(&self) -> Option<Incoming> {
        lock(&self.0.unread).take()
    }
}

fn lock(unread: &Mutex<Option<Incoming>>) -> MutexGuard<'_, Option<Incoming>> {
    // Only moves run under the lock.
    unread.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RequestBody {
    /// Wraps a body without a limit.
    pub(crate) fn unlimited(incoming: Incoming) -> Self {
        Self {
            incoming: Some(incoming),
            stall: None,
        }
    }

    /// Wraps a body that has to bring [`PROGRESS`] bytes, or its end, in each `limit`.
    pub(crate) fn limited(incoming: Incoming, limit: Duration, shared: SharedBody) -> Self {
        Self {
            incoming: Some(incoming),
            stall: Some(Stall::new(limit, shared)),
        }
    }
}

impl Stall {
    fn new(limit: Duration, shared: SharedBody) -> Self {
        Self {
            limit,
            timer: None,
            progress: 0,
            shared,
        }
    }

    fn on_bytes(&mut self, bytes: u64) {
        self.progress += bytes;
        if self.progress >= PROGRESS {
            self.progress = 0;
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(Instant::now() + self.limit);
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RequestBodyError> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep(self.limit)));
        timer.as_mut().poll(cx).map(|()| {
            self.shared.set_stalled();
            RequestBodyError(Kind::Stalled(self.limit, io::ErrorKind::TimedOut.into()))
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(incoming).poll_frame(cx);
        match (polled, &mut this.stall) {
            (Poll::Pending, None) => Poll::Pending,
            (Poll::Pending, Some(stall)) => stall.poll(cx).map(|stalled| Some(Err(stalled))),
            (Poll::Ready(Some(Ok(frame))), stall) => {
                if let (Some(stall), Some(data)) = (stall, frame.data_ref()) {
                    stall.on_bytes(data.len() as u64);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            (Poll::Ready(Some(Err(error))), _) => {
                Poll::Ready(Some(Err(RequestBodyError(Kind::Connection(error)))))
            }
            (Poll::Ready(None), _) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let incoming = self.incoming.as_ref();
        incoming.map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// Leaves the rest of the body to the call.
impl Drop for RequestBody {
    fn drop(&mut self) {
        let parts = self.stall.as_ref().map(|stall| &stall.shared.0);
        if let (Some(parts), Some(incoming)) = (parts, self.incoming.take())
            && parts.keeps_unread
            && !incoming.is_end_stream()
        {
            *lock(&parts.unread) = Some(incoming);
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}

/// The body of a request ended early: the client stalled, or the connection broke.
///
/// The [source](Error::source) of a stall is an [`io::Error`] of the kind [`TimedOut`](io::ErrorKind::TimedOut).
#[derive(Debug)]
pub struct RequestBodyError(Kind);

#[derive(Debug)]
enum Kind {
    /// The limit, and the error that readers of bodies know.
    Stalled(Duration, io::Error),
    Connection(hyper::Error),
}

impl RequestBodyError {
    /// Returns true if the client stalled. If the service answers that with an error, the client gets a [408].
    ///
    /// [408]: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, Kind::Stalled(..))
    }
}

impl fmt::Display for RequestBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Stalled(limit, _) => write!(f, "the request body stalled for {limit:?}"),
            Kind::Connection(_) => f.write_str("the request body could not be read"),
        }
    }
}

impl Error for RequestBodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Stalled(_, error) => Some(error),
            Kind::Connection(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_kibibyte_in_each_time_is_progress_and_less_is_a_stall() {
        let shared = SharedBody::new(false);
        let mut stall = Stall::new(Duration::from_secs(30), shared.clone());
        let mut cx = Context::from_waker(Waker::noop());
        let mut is_stalled = |stall: &mut Stall| stall.poll(&mut cx).is_ready();
        assert!(!is_stalled(&mut stall));
        for _ in 0..10 {
            advance(Duration::from_secs(29)).await;
            for _ in 0..8 {
                stall.on_bytes(PROGRESS / 8);
            }
            assert!(!is_stalled(&mut stall));
        }
        advance(Duration::from_secs(29)).await;
        stall.on_bytes(PROGRESS - 1);
        assert!(!is_stalled(&mut stall) && !shared.has_stalled());
        advance(Duration::from_secs(1)).await;
        assert!(is_stalled(&mut stall) && shared.has_stalled());
    }
}
