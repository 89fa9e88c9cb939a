use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};
use towerkit_core::{CallEnd, InFlightCall, Outcome, Policy, RejectionReason, Status};

use crate::outcome::{UNKNOWN, code_in, of_body_error, of_code};

/// A response body that carries what the policies of a policy stack hold to the end of the call.
///
/// # Cancellation
///
/// Dropping it before its end finishes the call as cancelled, unless the head already told of a failure: that stays one. The inner body
/// is dropped first.
#[pin_project(PinnedDrop)]
pub struct TrackedBody<B: Body, R: Policy + 'static> {
    #[pin]
    source: Source<B>,
    in_flight_call: InFlightCall<R>,
    so_far: SoFar,
}

#[pin_project(project = SourceProj)]
enum Source<B: Body> {
    Inner(#[pin] B),
    MaybeRejection(Option<B::Data>),
    Gone,
}

impl<B: Body> Source<B> {
    /// Returns true if there are no more frames, as far as the body knows without being polled.
    #[inline(always)]
    fn is_over(&self) -> bool {
        match self {
            Self::Inner(body) => body.is_end_stream(),
            Self::MaybeRejection(data) => data.is_none(),
            Self::Gone => true,
        }
    }
}

/// What is known of the call before its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SoFar {
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<Status>,
    pub(crate) rejected: Option<RejectionReason>,
    /// Whether the outcome is still to come, in gRPC trailers.
    pub(crate) in_trailers: bool,
    /// The length that the body has to have: a server stops polling once it has written that much, and aborts where there is less.
    pub(crate) declared: u64,
    pub(crate) bytes: u64,
}

/// A body of unknown length.
pub(crate) const UNDECLARED: u64 = u64::MAX;

impl SoFar {
    #[inline(always)]
    pub(crate) fn new(outcome: Outcome, status: Option<Status>) -> Self {
        Self {
            outcome,
            status,
            rejected: None,
            in_trailers: false,
            declared: UNDECLARED,
            bytes: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn end(&self) -> CallEnd {
        self.ended(self.outcome)
    }

    /// The head told [`outcome`](Self::outcome), unless that is still to come, whatever came of the body.
    #[inline(always)]
    fn ended(&self, outcome: Outcome) -> CallEnd {
        let end = CallEnd::new(outcome)
            .with_status(self.status)
            .with_rejection_reason(self.rejected)
            .with_bytes(self.bytes);
        if self.in_trailers {
            end.with_open_head()
        } else {
            end.with_head_outcome(Some(self.outcome))
        }
    }

    /// The body is over without trailers.
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

    /// The body is over: its call has failed if the body is shorter or longer than declared.
    #[inline(always)]
    fn over(&self) -> CallEnd {
        if self.is_whole() {
            self.end()
        } else {
            self.ended(Outcome::Failure)
        }
    }

    /// Returns true if a body that is over now has the declared length.
    #[inline(always)]
    pub(crate) fn is_whole(&self) -> bool {
        self.declared == UNDECLARED || self.bytes == self.declared
    }

    #[cold]
    fn with_code(&self, code: u16) -> CallEnd {
        self.ended(of_code(code))
            .with_status(Some(Status::Grpc(code)))
    }

    /// The body ended with an error: a rejection by a layer further in, or else a failure.
    #[cold]
    pub(crate) fn broken<E: 'static>(&self, error: &E) -> CallEnd {
        let (outcome, rejected) = of_body_error(error);
        self.ended(outcome)
            .with_rejection_reason(rejected.or(self.rejected))
    }

    /// The body was dropped before its end.
    fn dropped(&self) -> CallEnd {
        match self.outcome {
            Outcome::Success => self.ended(Outcome::Cancelled),
            known => self.ended(known),
        }
    }
}

impl<B: Body, R: Policy> TrackedBody<B, R> {
    /// Follows `body` on behalf of `in_flight_call`.
    #[inline(always)]
    pub(crate) fn follow(body: B, in_flight_call: InFlightCall<R>, so_far: SoFar) -> Self {
        Self {
            source: Source::Inner(body),
            in_flight_call,
            so_far,
        }
    }

    /// Passes `body` on for a policy stack that does not follow its calls, or a call that is over already.
    #[inline(always)]
    pub(crate) fn pass(body: B) -> Self {
        Self::from_source(Source::Inner(body))
    }

    pub(crate) fn of_rejection(body: Bytes) -> Self
    where
        B::Data: From<Bytes>,
    {
        let data = (!body.is_empty()).then(|| B::Data::from(body));
        Self::from_source(Source::MaybeRejection(data))
    }

    #[inline(always)]
    fn from_source(source: Source<B>) -> Self {
        Self {
            source,
            in_flight_call: InFlightCall::none(),
            so_far: SoFar::new(Outcome::Success, None),
        }
    }
}

impl<B: Body + Default, R: Policy> Default for TrackedBody<B, R> {
    fn default() -> Self {
        Self::pass(B::default())
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
        let me = self.project();
        let mut body = match me.source.project() {
            SourceProj::Inner(body) => body,
            SourceProj::MaybeRejection(data) => {
                return Poll::Ready(mem::take(data).map(Frame::data).map(Ok));
            }
            SourceProj::Gone => return Poll::Ready(None),
        };
        if !me.in_flight_call.is_active() {
            return body.poll_frame(cx);
        }
        let frame = ready!(me.in_flight_call.poll_with(|| body.as_mut().poll_frame(cx)));
        // The body and its data are asked here, and may panic.
        me.in_flight_call
            .finish_on_panic(|in_flight_call| match &frame {
                Some(Ok(frame)) => {
                    delivered(frame, body.is_end_stream(), in_flight_call, me.so_far)
                }
                Some(Err(error)) => in_flight_call.finish(&me.so_far.broken(error)),
                None => in_flight_call.finish(&me.so_far.without_trailers()),
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
            Source::MaybeRejection(data) => {
                let left = data.as_ref().map_or(0, Buf::remaining);
                SizeHint::with_exact(left as u64)
            }
            Source::Gone => SizeHint::with_exact(0),
        }
    }
}

/// Takes note of a frame, and finishes the call if that was the last.
#[inline(always)]
fn delivered<D: Buf, R: Policy>(
    frame: &Frame<D>,
    is_end: bool,
    in_flight_call: &mut InFlightCall<R>,
    so_far: &mut SoFar,
) {
    if let Some(trailers) = frame.trailers_ref() {
        in_flight_call.finish(&so_far.with_trailers(trailers));
        return;
    }
    so_far.bytes += frame.data_ref().map_or(0, Buf::remaining) as u64;
    if is_end || so_far.bytes >= so_far.declared {
        in_flight_call.finish(&so_far.without_trailers());
    }
}

#[pinned_drop]
impl<B: Body, R: Policy> PinnedDrop for TrackedBody<B, R> {
    #[inline(always)]
    fn drop(self: Pin<&mut Self>) {
        let mut me = self.project();
        if !me.in_flight_call.is_active() {
            return;
        }
        let is_over = me.in_flight_call.poll_with(|| {
            let is_over = me.source.is_over();
            me.source.set(Source::Gone);
            is_over
        });
        me.in_flight_call.finish_with(|| {
            if is_over {
                me.so_far.without_trailers()
            } else {
                me.so_far.dropped()
            }
        });
    }
}

impl<B: Body + fmt::Debug, R: Policy> fmt::Debug for TrackedBody<B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackedBody")
            .field("so_far", &self.so_far)
            .finish_non_exhaustive()
    }
}
