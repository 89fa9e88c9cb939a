use crate::{CallEnd, Outcome, RejectionReason, Status};

/// Says how a call that has ended counts for the health of the upstream.
///
/// Circuit breakers and load balancers count calls by [`CountAs::of`] unless their layers are told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CountAs {
    /// Counts as a success: the upstream is healthy.
    Success,
    /// Counts as a failure: the upstream is not healthy.
    Failure,
    /// Does not count, because the call says little about the upstream.
    Ignored,
}

impl CountAs {
    /// Returns how a call counts by default.
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
