use std::{error::Error, fmt, time::Duration};

use towerkit_ratelimit::Quota;

/// A setting with which a limit on Redis would not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSetting(pub(crate) Problem);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    Inexact(Quota),
    LeaseSize(u32),
    LeaseTime(Duration),
    Timeout(Duration),
    Capacity(usize),
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Problem::Inexact(quota) => {
                write!(f, "redis cannot count {quota} exactly in 53 bits")
            }
            Problem::LeaseSize(size) => {
                write!(f, "a lease of {size} tokens is not 1 to 65535")
            }
            Problem::LeaseTime(time) => {
                write!(f, "a lease for {time:?} is not above 0 and up to an hour")
            }
            Problem::Timeout(time) => {
                write!(f, "a timeout of {time:?} is not above 0 and up to a minute")
            }
            Problem::Capacity(keys) => {
                write!(f, "a capacity of {keys} keys is not 1 to 16777216")
            }
        }
    }
}

impl Error for InvalidSetting {}
