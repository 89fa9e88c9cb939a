use towerkit_core::{CallEnd, Name, Outcome, RejectionReason, Status};

/// Marks the response of a fallback, and says how the original call ended.
///
/// Over HTTP and gRPC it is in the extensions of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallbackUsed {
    name: Name,
    outcome: Outcome,
    status: Option<Status>,
    rejection_reason: Option<RejectionReason>,
}

impl FallbackUsed {
    pub(crate) fn new(name: Name, end: &CallEnd) -> Self {
        Self {
            name,
            outcome: end.outcome(),
            status: end.status(),
            rejection_reason: end.rejection_reason(),
        }
    }

    /// Returns the name of the fallback.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Returns the [outcome](Outcome) of the original call.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the code of the failed response, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Returns the reason, if an inner layer rejected the original call.
    #[must_use]
    pub fn rejection_reason(&self) -> Option<RejectionReason> {
        self.rejection_reason
    }
}
