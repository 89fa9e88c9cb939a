use std::{error::Error, fmt, time::Duration};

use crate::{count_window::CountWindow, keyed::MAX_CAPACITY, word::Word};

/// A setting with which a breaker would not work: it would never open, or never close, or never stay open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvalidSetting(pub(crate) Problem);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Problem {
    Zero(&'static str),
    Twice(&'static str),
    Rate(f64),
    WindowTooLarge(u16),
    WindowTime(Duration),
    MinimumAboveWindow { minimum: u32, window: u16 },
    Time(&'static str, Duration),
    Growth(f64),
    Jitter(f64),
    LongestBelowFirst { longest: Duration, first: Duration },
    TooManyProbes(u16),
    TooManyKeys(usize),
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Problem::Zero(what) => write!(f, "the {what} of a circuit breaker is zero"),
            Problem::Twice(what) => write!(f, "a circuit breaker has two {what}"),
            Problem::Rate(rate) => write!(
                f,
                "a rate of a circuit breaker is {rate}, not above 0 and at most 1"
            ),
            Problem::WindowTooLarge(window) => write!(
                f,
                "the window of a circuit breaker is {window} results, more than {}",
                CountWindow::MAX
            ),
            Problem::WindowTime(time) => write!(
                f,
                "the window of a circuit breaker is {time:?}, not at least 20 ns and below 584 years"
            ),
            Problem::MinimumAboveWindow { minimum, window } => write!(
                f,
                "the window of a circuit breaker holds {window} results, never the minimum of {minimum}"
            ),
            Problem::Time(what, time) => write!(
                f,
                "the {what} of a circuit breaker is {time:?}, not above 0 and below 584 years"
            ),
            Problem::Growth(factor) => write!(
                f,
                "the open time of a circuit breaker grows by {factor}, not a number of 1 or more"
            ),
            Problem::Jitter(share) => {
                write!(f, "the jitter of a circuit breaker is {share}, not 0 to 1")
            }
            Problem::LongestBelowFirst { longest, first } => write!(
                f,
                "the longest open time of a circuit breaker is {longest:?}, less than the first, {first:?}"
            ),
            Problem::TooManyProbes(probes) => write!(
                f,
                "the number of probes of a circuit breaker is {probes}, more than {}",
                Word::MAX_PROBES
            ),
            Problem::TooManyKeys(capacity) => write!(
                f,
                "the capacity for keyed circuit breakers is {capacity}, more than {MAX_CAPACITY}"
            ),
        }
    }
}

impl Error for InvalidSetting {}

/// Returns a time in nanoseconds, unless it is zero or does not fit.
pub(crate) fn nanos(what: &'static str, time: Duration) -> Result<u64, InvalidSetting> {
    match u64::try_from(time.as_nanos()) {
        Ok(nanos) if nanos > 0 => Ok(nanos),
        _ => Err(InvalidSetting(Problem::Time(what, time))),
    }
}
