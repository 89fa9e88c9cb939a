use std::{error::Error, fmt, time::Duration};

/// A timeout that makes no sense: zero, or more than a year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidTimeout(Duration);

impl InvalidTimeout {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

    /// Returns the timeout in nanoseconds.
    pub(crate) fn check(timeout: Duration) -> Result<u64, Self> {
        if timeout.is_zero() || timeout > Self::LONGEST {
            return Err(Self(timeout));
        }
        u64::try_from(timeout.as_nanos()).map_err(|_| Self(timeout))
    }
}

impl fmt::Display for InvalidTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a timeout of {:?} is not between 1ns and a year", self.0)
    }
}

impl Error for InvalidTimeout {}
