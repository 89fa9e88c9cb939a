use towerkit_core::{CallEnd, Outcome, RejectionReason, Status};

use crate::open_when::RateKind;

/// Says how a circuit breaker counts a call that has ended.
///
/// [`CircuitBreakerLayer::count_as`](crate::CircuitBreakerLayer::count_as) replaces the default, [`CountAs::of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CountAs {
    /// Counts as a success: the upstream is healthy.
    Success,
    /// Counts as a failure, and opens a [half-open](crate::State::HalfOpen) breaker at once.
    Failure,
    /// Does not count, because the call says little about the upstream.
    ///
    /// Where [slow calls](crate::SlowCall) count, a cancelled call still counts as slow if it ran for too long.
    Ignored,
}

impl CountAs {
    /// Returns how a breaker counts a call by default.
    ///
    /// - [`Failure`](Outcome::Failure), [`Overloaded`](Outcome::Overloaded), [`TimedOut`](Outcome::TimedOut) and a panic are failures,
    ///   unless the status [blames the caller](Status::blames_caller), such as HTTP 4xx or gRPC `RESOURCE_EXHAUSTED`: an upstream that
    ///   can say so is healthy.
    /// - [`ClientError`](Outcome::ClientError) is a success.
    /// - A call that an inner layer rejected did not reach the upstream and is ignored, except for
    ///   [`DeadlineExceeded`](RejectionReason::DeadlineExceeded), which is a failure.
    /// - A [cancelled](Outcome::Cancelled) call counts by the head of its response, if the head has an outcome. Otherwise it is ignored;
    ///   the head of a gRPC stream has no outcome.
    #[inline]
    #[must_use]
    pub fn of(end: &CallEnd) -> Self {
        match end.outcome() {
            Outcome::Success => Self::Success,
            outcome => Self::of_unsuccessful(outcome, end),
        }
    }

    fn of_unsuccessful(outcome: Outcome, end: &CallEnd) -> Self {
        let outcome = match outcome {
            Outcome::Cancelled => end.head_outcome().unwrap_or(outcome),
            outcome => outcome,
        };
        match (outcome, end.rejection_reason()) {
            (_, Some(RejectionReason::DeadlineExceeded)) => Self::Failure,
            (Outcome::Cancelled, _) | (_, Some(_)) => Self::Ignored,
            (Outcome::Success | Outcome::ClientError, None) => Self::Success,
            (_, None) if end.status().is_some_and(Status::blames_caller) => Self::Success,
            (_, None) => Self::Failure,
        }
    }
}

/// The result of one call, as the windows of a breaker count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallResult {
    pub(crate) count_as: CountAs,
    /// True if the call ran longer than the slow-call threshold and this says something about the upstream.
    pub(crate) slow: bool,
    pub(crate) windows: Windows,
}

/// The windows in which a [`CallResult`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Windows {
    All,
    /// The windows for slow calls: the call is still in flight, so that its success or failure is not known.
    Slow,
    /// All but the windows for slow calls: the call has already been counted as slow while it was in flight.
    AllButSlow,
}

impl CallResult {
    /// A call that is still in flight and has run longer than the slow-call threshold.
    pub(crate) const SLOW_IN_FLIGHT: Self = Self {
        count_as: CountAs::Ignored,
        slow: true,
        windows: Windows::Slow,
    };

    /// Makes the result of a call with this end, `too_long` if it ran longer than the slow-call threshold.
    ///
    /// An ignored call is not slow, except if its caller cancelled it: slow calls often end like that.
    #[inline(always)]
    pub(crate) fn new(count_as: CountAs, end: &CallEnd, too_long: bool) -> Self {
        let cancelled = end.outcome() == Outcome::Cancelled;
        Self {
            count_as,
            slow: too_long && (count_as != CountAs::Ignored || cancelled),
            windows: Windows::All,
        }
    }

    /// Returns the result for a call that was counted as [`SLOW_IN_FLIGHT`](Self::SLOW_IN_FLIGHT) before it ended.
    pub(crate) fn but_slow(self) -> Self {
        Self {
            windows: Windows::AllButSlow,
            ..self
        }
    }

    /// Returns true if the result counts in any window.
    #[inline(always)]
    pub(crate) fn counts(self) -> bool {
        let counts_as_slow = self.slow && self.windows != Windows::AllButSlow;
        counts_as_slow || self.count_as != CountAs::Ignored
    }

    #[inline(always)]
    pub(crate) fn failed(self) -> bool {
        self.count_as == CountAs::Failure
    }

    /// Returns true if the window for `kind` counts this result as failed or as slow.
    #[inline(always)]
    pub(crate) fn is_marked(self, kind: RateKind) -> bool {
        match kind {
            RateKind::FailuresByCount | RateKind::FailuresByTime => self.failed(),
            RateKind::SlowByCount | RateKind::SlowByTime => self.slow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_as(outcome: Outcome, status: Option<Status>) -> CountAs {
        CountAs::of(&CallEnd::new(outcome).with_status(status))
    }

    /// CB-10.
    #[test]
    fn an_unsuccessful_outcome_is_a_failure_unless_its_status_blames_the_caller() {
        for outcome in [Outcome::Failure, Outcome::Overloaded, Outcome::TimedOut] {
            assert_eq!(count_as(outcome, None), CountAs::Failure);
            for status in [
                Status::Http(500),
                Status::Http(503),
                Status::Grpc(14),
                Status::Grpc(4),
            ] {
                let seen = count_as(outcome, Some(status));
                assert_eq!(seen, CountAs::Failure, "{status}");
            }
            for status in [Status::Http(408), Status::Http(429), Status::Grpc(8)] {
                let seen = count_as(outcome, Some(status));
                assert_eq!(seen, CountAs::Success, "{status}");
            }
        }
    }

    /// CB-10.
    #[test]
    fn a_client_error_is_a_success() {
        for status in [Some(Status::Http(404)), Some(Status::Grpc(5)), None] {
            assert_eq!(count_as(Outcome::ClientError, status), CountAs::Success);
        }
    }

    /// CB-10.
    #[test]
    fn a_rejection_by_an_inner_layer_is_ignored_but_an_inner_timeout_is_a_failure() {
        for reason in RejectionReason::ALL {
            let expected = match reason {
                RejectionReason::DeadlineExceeded => CountAs::Failure,
                _ => CountAs::Ignored,
            };
            let seen = CountAs::of(&CallEnd::rejected_for(reason));
            assert_eq!(seen, expected, "{reason}");
        }
    }

    /// CB-10.
    #[test]
    fn a_cancelled_call_counts_by_its_head_or_not_at_all() {
        let counted = |head| CountAs::of(&CallEnd::cancelled().with_head_outcome(head));
        assert_eq!(counted(None), CountAs::Ignored);
        assert_eq!(counted(Some(Outcome::Success)), CountAs::Success);
        assert_eq!(counted(Some(Outcome::ClientError)), CountAs::Success);
        assert_eq!(counted(Some(Outcome::Failure)), CountAs::Failure);
        assert_eq!(counted(Some(Outcome::Cancelled)), CountAs::Ignored);
    }
}
