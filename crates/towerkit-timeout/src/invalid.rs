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

/// A text that cannot be the name of a request field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField(&'static str);

impl InvalidField {
    /// Returns the name, if it is a token (RFC 9110, section 5.6.2) without upper case, which HTTP/2 forbids.
    pub(crate) fn check(name: &'static str) -> Result<&'static str, Self> {
        let is_token = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
        };
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(Self(name));
        }
        Ok(name)
    }
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a field name in lower case", self.0)
    }
}

impl Error for InvalidField {}
