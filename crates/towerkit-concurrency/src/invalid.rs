use std::{error::Error, fmt, time::Duration};

/// A setting with which a limit would not work: it would admit nothing, or everything, or contradict itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvalidSetting(pub(crate) Problem);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Problem {
    Limit(u32),
    Bounds { min: u32, max: u32 },
    QueueSize(u32),
    Time(&'static str, Duration),
    Order { age: Duration, target: Duration },
    Share(f64),
    Shares(&'static str),
    Ceilings { normal: f64, sheddable: f64 },
    Factor(&'static str, f64),
    TooManyPartitions,
    Partition(&'static str),
}

/// The longest time that a setting may name: far longer than any call, far shorter than what overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Checks that a time is above zero and not above a year, and returns its nanoseconds.
pub(crate) fn nanos(what: &'static str, time: Duration) -> Result<u64, InvalidSetting> {
    if time.is_zero() || time > LONGEST {
        return Err(InvalidSetting(Problem::Time(what, time)));
    }
    Ok(time.as_nanos() as u64)
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Problem::Limit(limit) => {
                write!(f, "the concurrency limit is {limit}, not 1 to 2147483647")
            }
            Problem::Bounds { min, max } => write!(
                f,
                "the concurrency limit is to stay between {min} and {max}, not 1 <= min <= max <= 2147483647"
            ),
            Problem::QueueSize(size) => {
                write!(f, "the queue is to hold {size} calls, not 1 to 1000000")
            }
            Problem::Time(what, time) => {
                write!(f, "the {what} is {time:?}, not above 0 and at most a year")
            }
            Problem::Order { age, target } => write!(
                f,
                "the age limit under overload is {target:?}, above the age limit of {age:?}"
            ),
            Problem::Share(share) => write!(
                f,
                "the share of a partition is {share}, not above 0 and at most 1"
            ),
            Problem::Shares(name) => {
                write!(f, "the share of `{name}` makes more than all of the limit")
            }
            Problem::Ceilings { normal, sheddable } => write!(
                f,
                "the ceilings are {normal} and {sheddable}, not 0 < sheddable <= normal <= 1"
            ),
            Problem::Factor(what, value) => write!(f, "the {what} is {value}"),
            Problem::TooManyPartitions => f.write_str("there are more than 16 partitions"),
            Problem::Partition(name) => {
                write!(f, "the partition `{name}` has no name or is there already")
            }
        }
    }
}

impl Error for InvalidSetting {}
