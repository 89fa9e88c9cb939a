use towerkit_core::{End, Outcome, Reason, Status};

/// Says of a response that it is the answer of a fallback, and how the call had ended.
///
/// Stands in the extensions of the response, where the protocol has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FellBack {
    name: &'static str,
    outcome: Outcome,
    status: Option<Status>,
    refused: Option<Reason>,
}

impl FellBack {
    pub(crate) fn new(name: &'static str, end: &End) -> Self {
        Self {
            name,
            outcome: end.outcome(),
            status: end.status(),
            refused: end.refused(),
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

    /// Returns why the call was refused, if a layer further in refused it.
    #[must_use]
    pub fn refused(&self) -> Option<Reason> {
        self.refused
    }
}
