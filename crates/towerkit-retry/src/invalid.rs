use std::{error::Error, fmt};

/// A budget that makes no sense: a ratio that is no number, negative or above 10, or nothing at all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvalidBudget(pub(crate) BudgetProblem);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum BudgetProblem {
    Ratio(f64),
    Nothing,
}

impl fmt::Display for InvalidBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            BudgetProblem::Ratio(ratio) => {
                write!(
                    f,
                    "the ratio of a retry budget is {ratio}, not between 0 and 10"
                )
            }
            BudgetProblem::Nothing => f.write_str("a retry budget allows nothing"),
        }
    }
}

impl Error for InvalidBudget {}
