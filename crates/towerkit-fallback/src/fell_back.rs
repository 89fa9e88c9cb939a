use towerkit_core::{CallEnd, Outcome, RejectionReason, Status};

/// Says of a response that it is the answer of a fallback, and how the call had ended.
///
/// Stands in the extensions of the response, where the protocol has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FellBack {
    name: &'static str,
    outcome: Outcome,
    status: Option<Status>,
    rejected: Option<RejectionReason>,
}

impl FellBack {
    pub(crate) fn new(name: &'static str, end: &CallEnd) -> Self {
        Self {
            name,
            outcome: end.outcome(),
            status: end.status(),
            rejected: end.rejection_reason(),
        }
    }

    /// Returns the name of the fallback.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns how the call had ended.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the code that the failed response had, if there was a response.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Returns why the call was rejected, if a layer further in rejected it.
    #[must_use]
    pub fn rejected(&self) -> Option<RejectionReason> {
        self.rejected
    }
}
