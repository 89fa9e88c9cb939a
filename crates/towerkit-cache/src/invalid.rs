use std::{error::Error, fmt, time::Duration};

/// An option of a [`CacheLayer`](crate::CacheLayer) that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidCache(What);

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Ttl(Duration),
    Window(Duration),
    Number {
        option: &'static str,
        value: u64,
        most: u64,
    },
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl InvalidCache {
    /// Returns a time to live in nanoseconds: some, and a year at most.
    pub(crate) fn check_ttl(ttl: Duration) -> Result<u64, Self> {
        if ttl.is_zero() {
            return Err(Self(What::Ttl(ttl)));
        }
        Self::nanos(ttl).ok_or(Self(What::Ttl(ttl)))
    }

    /// Returns a window in nanoseconds: none, or a year at most.
    pub(crate) fn check_window(window: Duration) -> Result<u64, Self> {
        Self::nanos(window).ok_or(Self(What::Window(window)))
    }

    fn nanos(time: Duration) -> Option<u64> {
        if time > YEAR {
            return None;
        }
        u64::try_from(time.as_nanos()).ok()
    }

    /// Checks that a number is not zero and not more than `most`.
    pub(crate) fn check(option: &'static str, value: u64, most: u64) -> Result<u64, Self> {
        if (1..=most).contains(&value) {
            return Ok(value);
        }
        Err(Self(What::Number {
            option,
            value,
            most,
        }))
    }
}

impl fmt::Display for InvalidCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            What::Ttl(ttl) => write!(f, "a time to live of {ttl:?} is not between 1ns and a year"),
            What::Window(window) => write!(f, "a window of {window:?} is more than a year"),
            What::Number {
                option,
                value,
                most,
            } => write!(f, "{option} of {value} is not between 1 and {most}"),
        }
    }
}

impl Error for InvalidCache {}
