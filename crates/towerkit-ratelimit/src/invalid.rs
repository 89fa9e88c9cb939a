use std::{error::Error, fmt, time::Duration};

/// A setting with which a limit would not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidSetting(pub(crate) Problem);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    PolicyName(&'static str),
    Capacity(usize),
    Classes(usize),
    NoClass(usize),
    NoTotal,
    Overrides,
    MaxWait(Duration),
    Queue(usize),
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Problem::PolicyName(name) => write!(
                f,
                "the policy name {name:?} is empty, or holds other than printable ASCII without quotes and backslashes"
            ),
            Problem::Capacity(keys) => {
                write!(f, "a capacity of {keys} keys, not 1 to 16777216")
            }
            Problem::Classes(classes) => write!(f, "{classes} further quotas, not 1 to 15"),
            Problem::NoClass(class) => write!(f, "there is no quota number {class}"),
            Problem::NoTotal => f.write_str("there is no quota for all keys together"),
            Problem::Overrides => f.write_str("there are 1000 keys with a quota of their own"),
            Problem::MaxWait(wait) => {
                write!(
                    f,
                    "a longest wait of {wait:?}, not above 0 and up to a year"
                )
            }
            Problem::Queue(calls) => write!(f, "a queue of {calls} calls, not 1 to 1000000"),
        }
    }
}

impl Error for InvalidSetting {}
