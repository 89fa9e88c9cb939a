use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};
use towerkit_core::{CallEnd, InFlightCall, Outcome, Policy, RejectionReason, Status};

use crate::outcome::{UNKNOWN, code_in, outcome_of_body_error, outcome_of_code};

/// A response body that carries the state of the policies to the end of the call.
///
/// # Cancellation
///
/// Dropping the body before its end finishes the call as [cancelled](Outcome::Cancelled), unless the head already was a failure. The
/// inner body is dropped first.
#[pin_project(PinnedDrop)]
pub struct TrackedBody<B: Body, R: Policy + 'static> {
    #[pin]
    source: Source<B>,
    in_flight_call: InFlightCall<R>,
    progress: CallProgress,
}

#[pin_project(project = SourceProj)]
enum Source<B: Body> {
    Inner(#[pin] B),
    /// The body of a rejection.
    Rejection(Option<B::Data>),
    Dropped,
}

impl<B: Body> Source<B> {
    /// Returns true if the body knows, without being polled, that there are no more frames.
    #[inline(always)]
    fn is_over(&self) -> bool {
        match self {
            Self::Inner(body) => body.is_end_stream(),
            Self::Rejection(data) => data.is_none(),
            Self::Dropped => true,
        }
    }
}

/// The part of the [`CallEnd`] that is known before the end of the body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallProgress {
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<Status>,
    pub(crate) rejection_reason: Option<RejectionReason>,
    /// True if the outcome is in gRPC trailers that have not arrived.
    pub(crate) in_trailers: bool,
    /// The declared length, at which a server stops polling the body; it aborts the connection if the body is shorter.
    pub(crate) content_length: u64,
    pub(crate) bytes: u64,
}

/// The content length of a body that declares no length.
pub(crate) const UNKNOWN_LENGTH: u64 = u64::MAX;

impl CallProgress {
    #[inline(always)]
    pub(crate) fn new(outcome: Outcome, status: Option<Status>) -> Self {
        Self {
            outcome,
            status,
            rejection_reason: None,
            in_trailers: false,
            content_length: UNKNOWN_LENGTH,
            bytes: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn end(&self) -> CallEnd {
        self.ended(self.outcome)
    }

    /// Returns the end with the outcome of the body. The outcome of the head is that of this progress, unless it is in trailers.
    #[inline(always)]
    fn ended(&self, outcome: Outcome) -> CallEnd {
        let end = CallEnd::new(outcome)
            .with_status(self.status)
            .with_rejection_reason(self.rejection_reason)
            .with_bytes(self.bytes);
        if self.in_trailers {
            end.with_open_head()
        } else {
            end.with_head_outcome(Some(self.outcome))
        }
    }

    /// Returns the end of a call whose body ended without trailers.
    #[inline(always)]
    pub(crate) fn without_trailers(&self) -> CallEnd {
        if self.in_trailers {
            self.with_code(UNKNOWN)
        } else {
            self.over()
        }
    }

    #[cold]
    pub(crate) fn with_trailers(&self, trailers: &http::HeaderMap) -> CallEnd {
        if self.in_trailers {
            self.with_code(code_in(trailers))
        } else {
            self.over()
        }
    }

    /// Returns the end of a call at the end of its body: a failure if the body has another length than declared.
    #[inline(always)]
    fn over(&self) -> CallEnd {
        if self.has_declared_length() {
            self.end()
        } else {
            self.ended(Outcome::Failure)
        }
    }

    /// Returns true if a body that ends here has the declared length.
    #[inline(always)]
    pub(crate) fn has_declared_length(&self) -> bool {
        self.content_length == UNKNOWN_LENGTH || self.bytes == self.content_length
    }

    #[cold]
    fn with_code(&self, code: u16) -> CallEnd {
        self.ended(outcome_of_code(code))
            .with_status(Some(Status::Grpc(code)))
    }

    /// Returns the end of a call whose body failed: a rejection by an inner layer, or else a failure.
    #[cold]
    pub(crate) fn with_body_error<E: 'static>(&self, error: &E) -> CallEnd {
        let (outcome, reason) = outcome_of_body_error(error);
        self.ended(outcome)
            .with_rejection_reason(reason.or(self.rejection_reason))
    }

    /// Returns the end of a call whose body was dropped before its end.
    fn dropped(&self) -> CallEnd {
        match self.outcome {
            Outcome::Success => self.ended(Outcome::Cancelled),
            known => self.ended(known),
        }
    }
}

impl<B: Body, R: Policy> TrackedBody<B, R> {
    /// Tracks `body` to its end, which finishes `in_flight_call`.
    #[inline(always)]
    pub(crate) fn track(body: B, in_flight_call: InFlightCall<R>, progress: CallProgress) -> Self {
        Self {
            source: Source::Inner(body),
            in_flight_call,
            progress,
        }
    }

    /// Passes `body` through, for policies that do not track calls and for calls that have ended.
    #[inline(always)]
    pub(crate) fn untracked(body: B) -> Self {
        Self::from_source(Source::Inner(body))
    }

    /// Makes the body of the response to a rejected call.
    pub(crate) fn from_rejection(body: Bytes) -> Self
    where
        B::Data: From<Bytes>,
    {
        let data = (!body.is_empty()).then(|| B::Data::from(body));
        Self::from_source(Source::Rejection(data))
    }

    #[inline(always)]
    fn from_source(source: Source<B>) -> Self {
        Self {
            source,
            in_flight_call: InFlightCall::none(),
            progress: CallProgress::new(Outcome::Success, None),
        }
    }
}

impl<B: Body + Default, R: Policy> Default for TrackedBody<B, R> {
    fn default() -> Self {
        Self::untracked(B::default())
    }
}

impl<B: Body<Error: 'static>, R: Policy> Body for TrackedBody<B, R> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline(always)]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let mut body = match this.source.project() {
            SourceProj::Inner(body) => body,
            SourceProj::Rejection(data) => {
                return Poll::Ready(mem::take(data).map(Frame::data).map(Ok));
            }
            SourceProj::Dropped => return Poll::Ready(None),
        };
        if !this.in_flight_call.is_active() {
            return body.poll_frame(cx);
        }
        let frame = ready!(
            this.in_flight_call
                .poll_with(|| body.as_mut().poll_frame(cx))
        );
        // The methods of the body and of its data may panic.
        this.in_flight_call
            .finish_on_panic(|in_flight_call| match &frame {
                Some(Ok(frame)) => {
                    on_frame(frame, body.is_end_stream(), in_flight_call, this.progress);
                }
                Some(Err(error)) => in_flight_call.finish(&this.progress.with_body_error(error)),
                None => in_flight_call.finish(&this.progress.without_trailers()),
            });
        Poll::Ready(frame)
    }

    #[inline(always)]
    fn is_end_stream(&self) -> bool {
        self.source.is_over()
    }

    #[inline(always)]
    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Inner(body) => body.size_hint(),
            Source::Rejection(data) => {
                let length = data.as_ref().map_or(0, Buf::remaining);
                SizeHint::with_exact(length as u64)
            }
            Source::Dropped => SizeHint::with_exact(0),
        }
    }
}

/// Counts a frame, and finishes the call if it is the last.
#[inline(always)]
fn on_frame<D: Buf, R: Policy>(
    frame: &Frame<D>,
    is_end: bool,
    in_flight_call: &mut InFlightCall<R>,
    progress: &mut CallProgress,
) {
    if let Some(trailers) = frame.trailers_ref() {
        in_flight_call.finish(&progress.with_trailers(trailers));
        return;
    }
    progress.bytes += frame.data_ref().map_or(0, Buf::remaining) as u64;
    if is_end || progress.bytes >= progress.content_length {
        in_flight_call.finish(&progress.without_trailers());
    }
}

#[pinned_drop]
impl<B: Body, R: Policy> PinnedDrop for TrackedBody<B, R> {
    #[inline(always)]
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if !this.in_flight_call.is_active() {
            return;
        }
        let is_over = this.in_flight_call.poll_with(|| {
            let is_over = this.source.is_over();
            this.source.set(Source::Dropped);
            is_over
        });
        this.in_flight_call.finish_with(|| {
            if is_over {
                this.progress.without_trailers()
            } else {
                this.progress.dropped()
            }
        });
    }
}

impl<B: Body + fmt::Debug, R: Policy> fmt::Debug for TrackedBody<B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackedBody")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
