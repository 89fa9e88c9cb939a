use std::{error::Error, fmt, time::Duration};

/// A setting with which a breaker would never open, or never stay open for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvalidSetting(pub(crate) Problem);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Problem {
    Rate(f64),
    NoResults,
    MinimumAboveWindow { minimum: u16, window: u16 },
    OpenFor(Duration),
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Problem::Rate(rate) => {
                write!(
                    f,
                    "a failure rate must be above 0 and at most 1, not {rate}"
                )
            }
            Problem::NoResults => {
                f.write_str("a failure rate needs at least one result to judge by")
            }
            Problem::MinimumAboveWindow { minimum, window } => write!(
                f,
                "a window of {window} results never holds the minimum of {minimum}"
            ),
            Problem::OpenFor(time) => write!(
                f,
                "the open time must be above 0 and below 584 years, not {time:?}"
            ),
        }
    }
}

impl Error for InvalidSetting {}
