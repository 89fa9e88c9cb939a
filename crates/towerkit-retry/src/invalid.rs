use std::{error::Error, fmt, time::Duration};

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

/// A setting that makes no sense: no attempt at all, no pause between attempts, or one of more than a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRetry(pub(crate) Problem);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    NoAttempts,
    NoPause,
    CapBelowBase { base: Duration, cap: Duration },
    TooLong(Duration),
}

impl InvalidRetry {
    const LONGEST: Duration = Duration::from_secs(24 * 3600);

    /// Checks a pause against the longest that makes sense.
    pub(crate) fn check(pause: Duration) -> Result<Duration, Self> {
        if pause > Self::LONGEST {
            return Err(Self(Problem::TooLong(pause)));
        }
        Ok(pause)
    }
}

impl fmt::Display for InvalidRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Problem::NoAttempts => f.write_str("the number of attempts is zero"),
            Problem::NoPause => f.write_str("the base of a backoff is zero"),
            Problem::CapBelowBase { base, cap } => {
                write!(
                    f,
                    "the cap of a backoff is {cap:?}, below its base of {base:?}"
                )
            }
            Problem::TooLong(pause) => {
                write!(
                    f,
                    "a pause of {pause:?} between attempts is more than a day"
                )
            }
        }
    }
}

impl Error for InvalidRetry {}
