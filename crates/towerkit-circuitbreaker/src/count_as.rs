use towerkit_core::{CallEnd, Outcome, RejectionReason, Status};

/// What the end of a call says about the health of the callee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CountAs {
    /// The callee is well.
    Success,
    /// The callee is unwell: counts towards opening, and opens a half-open breaker at once.
    Failure,
    /// Says nothing about the callee: counts as no call at all, unless the call was cancelled after it had run for too long where
    /// slow calls count.
    Ignored,
}

impl CountAs {
    /// Judges a call as a breaker does unless it is told otherwise.
    ///
    /// - A failure, a pushback and a time-out are failures of the callee, and so is a panic.
    /// - They are not where the status blames the caller ([`Status::blames_caller`]: HTTP 4xx, gRPC `RESOURCE_EXHAUSTED`): a callee
    ///   that is well enough to say so is well.
    /// - A client error is a success.
    /// - A call that a layer further in rejected never reached the callee and is ignored; but a time-out further in is a failure.
    /// - A cancelled call is ignored, unless the head of its response had come and told an outcome: then the head counts. The head of
    ///   a gRPC stream tells none.
    #[inline]
    #[must_use]
    pub fn of(end: &CallEnd) -> Self {
        match end.outcome() {
            Outcome::Success => Self::Success,
            outcome => Self::of_trouble(outcome, end),
        }
    }

    fn of_trouble(outcome: Outcome, end: &CallEnd) -> Self {
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

    fn verdict(outcome: Outcome, status: Option<Status>) -> CountAs {
        CountAs::of(&CallEnd::new(outcome).with_status(status))
    }

    /// CB-10.
    #[test]
    fn trouble_counts_against_the_callee_unless_its_status_blames_the_caller() {
        for outcome in [Outcome::Failure, Outcome::Overloaded, Outcome::TimedOut] {
            assert_eq!(verdict(outcome, None), CountAs::Failure);
            for status in [
                Status::Http(500),
                Status::Http(503),
                Status::Grpc(14),
                Status::Grpc(4),
            ] {
                assert_eq!(verdict(outcome, Some(status)), CountAs::Failure, "{status}");
            }
            for status in [Status::Http(408), Status::Http(429), Status::Grpc(8)] {
                assert_eq!(verdict(outcome, Some(status)), CountAs::Success, "{status}");
            }
        }
    }

    /// CB-10.
    #[test]
    fn a_client_error_is_a_success() {
        assert_eq!(
            verdict(Outcome::ClientError, Some(Status::Http(404))),
            CountAs::Success
        );
        assert_eq!(
            verdict(Outcome::ClientError, Some(Status::Grpc(5))),
            CountAs::Success
        );
        assert_eq!(verdict(Outcome::ClientError, None), CountAs::Success);
    }

    /// CB-10.
    #[test]
    fn a_rejection_further_in_is_ignored_but_a_time_out_further_in_is_a_failure() {
        for reason in RejectionReason::ALL {
            let expected = match reason {
                RejectionReason::DeadlineExceeded => CountAs::Failure,
                _ => CountAs::Ignored,
            };
            assert_eq!(
                CountAs::of(&CallEnd::rejected_for(reason)),
                expected,
                "{reason}"
            );
        }
    }

    /// CB-10.
    #[test]
    fn a_cancelled_call_counts_for_its_head_or_not_at_all() {
        let judged = |head| CountAs::of(&CallEnd::cancelled().with_head_outcome(head));
        assert_eq!(judged(None), CountAs::Ignored);
        assert_eq!(judged(Some(Outcome::Success)), CountAs::Success);
        assert_eq!(judged(Some(Outcome::ClientError)), CountAs::Success);
        assert_eq!(judged(Some(Outcome::Failure)), CountAs::Failure);
        assert_eq!(judged(Some(Outcome::Cancelled)), CountAs::Ignored);
    }
}
