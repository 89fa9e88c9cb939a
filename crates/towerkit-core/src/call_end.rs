use std::cell::Cell;

use crate::{Clock, Outcome, RejectionReason, Status, clock::Reading};

/// What is known of a call at its end (or, in [`Policy::head`](crate::Policy::on_response_head), so far).
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

/// What the head of a response told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    /// No head came, or the protocol has none.
    Missing,
    /// The head came and left the outcome to what follows.
    Open,
    Told(Outcome),
}

impl CallEnd {
    /// A call that ended with `outcome`.
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

    /// A call whose caller went away.
    #[inline(always)]
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(Outcome::Cancelled)
    }

    /// A call that was rejected, here or by a layer further in.
    #[inline(always)]
    #[must_use]
    pub fn rejected_for(reason: RejectionReason) -> Self {
        Self {
            rejected: Some(reason),
            ..Self::new(reason.outcome())
        }
    }

    /// A call whose service panicked.
    #[cold]
    pub(crate) fn in_panic() -> Self {
        Self {
            panicked: true,
            ..Self::new(Outcome::Failure)
        }
    }

    /// Adds the code that the protocol gave.
    #[inline(always)]
    #[must_use]
    pub fn with_status(mut self, status: Option<Status>) -> Self {
        self.status = status;
        self
    }

    /// Adds the outcome that the head of the response told.
    #[inline(always)]
    #[must_use]
    pub fn with_head_outcome(mut self, head: Option<Outcome>) -> Self {
        self.head = head.map_or(Head::Missing, Head::Told);
        self
    }

    /// Adds that the head of the response came and left the outcome open, as the head of a gRPC stream does.
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

    /// Adds the bytes of the response body that were delivered.
    #[inline(always)]
    #[must_use]
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Returns how the call ended.
    #[inline(always)]
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the code that the protocol gave, where there is one.
    ///
    /// A cancelled call keeps the code of its head, if that had come.
    #[inline(always)]
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Returns the outcome that the head of the response told, if it came and told one.
    ///
    /// The head of a gRPC stream tells none: its code comes in the trailers.
    #[inline(always)]
    #[must_use]
    pub fn head_outcome(&self) -> Option<Outcome> {
        match self.head {
            Head::Told(outcome) => Some(outcome),
            Head::Missing | Head::Open => None,
        }
    }

    /// Returns true if the head of a response came, whether or not it told an outcome.
    #[inline(always)]
    #[must_use]
    pub fn has_head(&self) -> bool {
        !matches!(self.head, Head::Missing)
    }

    /// Returns why the call was rejected, by a layer further in or by a later policy of the same policy stack.
    #[inline(always)]
    #[must_use]
    pub fn rejection_reason(&self) -> Option<RejectionReason> {
        self.rejected
    }

    /// Whether the service panicked.
    #[inline(always)]
    #[must_use]
    pub fn has_panicked(&self) -> bool {
        self.panicked
    }

    /// Returns the bytes of the response body that were delivered, or that answer a call which a later policy of the same policy stack rejected.
    ///
    /// 0 where the protocol has no body.
    #[inline(always)]
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the time of the end on `clock`: one reading for all policies that end here.
    #[inline(always)]
    #[must_use]
    pub fn now(&self, clock: &Clock) -> u64 {
        let reading = self.reading.get().of(clock);
        self.reading.set(reading);
        reading.nanos()
    }
}
