use std::cell::Cell;

use crate::{Clock, Outcome, RejectionReason, Status, clock::Reading};

/// The end of a call: its outcome, status and size. In [`Policy::on_response_head`](crate::Policy::on_response_head) it is the
/// state so far.
#[derive(Debug, Clone)]
pub struct CallEnd {
    outcome: Outcome,
    status: Option<Status>,
    head: Head,
    rejected: Option<RejectionReason>,
    panicked: bool,
    bytes: u64,
    reading: Cell<Reading>,
}

/// The outcome by the head of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    /// There was no head, or the protocol has no heads.
    Missing,
    /// There was a head, and the outcome depends on the body.
    Open,
    Told(Outcome),
}

impl CallEnd {
    /// Makes the end of a call with this outcome.
    #[inline(always)]
    #[must_use]
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            status: None,
            head: Head::Missing,
            rejected: None,
            panicked: false,
            bytes: 0,
            reading: Cell::default(),
        }
    }

    /// Makes the end of a cancelled call.
    #[inline(always)]
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(Outcome::Cancelled)
    }

    /// Makes the end of a call that was rejected, here or by an inner layer.
    #[inline(always)]
    #[must_use]
    pub fn rejected_for(reason: RejectionReason) -> Self {
        Self {
            rejected: Some(reason),
            ..Self::new(reason.outcome())
        }
    }

    /// Makes the end of a call with a panic in the inner service.
    #[cold]
    pub(crate) fn in_panic() -> Self {
        Self {
            panicked: true,
            ..Self::new(Outcome::Failure)
        }
    }

    /// Adds the status of the response.
    #[inline(always)]
    #[must_use]
    pub fn with_status(mut self, status: Option<Status>) -> Self {
        self.status = status;
        self
    }

    /// Adds the outcome by the head of the response.
    #[inline(always)]
    #[must_use]
    pub fn with_head_outcome(mut self, head: Option<Outcome>) -> Self {
        self.head = head.map_or(Head::Missing, Head::Told);
        self
    }

    /// Adds that the response has a head that leaves the outcome open, as that of a gRPC stream does.
    #[inline(always)]
    #[must_use]
    pub fn with_open_head(mut self) -> Self {
        self.head = Head::Open;
        self
    }

    /// Adds the reason of a rejection.
    #[inline(always)]
    #[must_use]
    pub fn with_rejection_reason(mut self, rejected: Option<RejectionReason>) -> Self {
        self.rejected = rejected;
        self
    }

    /// Adds the number of bytes of the response body that were delivered.
    #[inline(always)]
    #[must_use]
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Returns the outcome of the call.
    #[inline(always)]
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the status of the response, if the protocol has one.
    ///
    /// A cancelled call has the status of its response head, if there was one.
    #[inline(always)]
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Returns the outcome by the head of the response, if the head determined it.
    ///
    /// The head of a gRPC stream does not: its status is in the
    /// [trailers](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
    #[inline(always)]
    #[must_use]
    pub fn head_outcome(&self) -> Option<Outcome> {
        match self.head {
            Head::Told(outcome) => Some(outcome),
            Head::Missing | Head::Open => None,
        }
    }

    /// Returns true if the response had a head.
    #[inline(always)]
    #[must_use]
    pub fn has_head(&self) -> bool {
        !matches!(self.head, Head::Missing)
    }

    /// Returns the reason if the call was rejected, by an inner layer or by a later policy of the same stack.
    #[inline(always)]
    #[must_use]
    pub fn rejection_reason(&self) -> Option<RejectionReason> {
        self.rejected
    }

    /// Returns true if the inner service panicked.
    #[inline(always)]
    #[must_use]
    pub fn has_panicked(&self) -> bool {
        self.panicked
    }

    /// Returns the number of bytes of the response body that were delivered, also of the response to a call that a later policy of
    /// the same stack rejected.
    ///
    /// It is 0 if the protocol has no bodies.
    #[inline(always)]
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the time of the end on `clock`. Policies with clocks of the same origin share one reading.
    #[inline(always)]
    #[must_use]
    pub fn now(&self, clock: &Clock) -> u64 {
        let reading = self.reading.get().of(clock);
        self.reading.set(reading);
        reading.nanos()
    }
}
