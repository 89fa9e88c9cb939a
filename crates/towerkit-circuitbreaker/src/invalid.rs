use std::{error::Error, fmt, time::Duration};

use crate::window::Window;

/// A setting with which a breaker would not work: it would never open, or never close, or never stay open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvalidSetting(pub(crate) Problem);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Problem {
    Zero(&'static str),
    Rate(f64),
    WindowTooLarge(u16),
    MinimumAboveWindow { minimum: u16, window: u16 },
    OpenTime(Duration),
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Problem::Zero(what) => write!(f, "the {what} of a circuit breaker is zero"),
            Problem::Rate(rate) => write!(
                f,
                "the failure rate of a circuit breaker is {rate}, not above 0 and at most 1"
            ),
            Problem::WindowTooLarge(window) => write!(
                f,
                "the window of a circuit breaker is {window} results, more than {}",
                Window::MAX
            ),
            Problem::MinimumAboveWindow { minimum, window } => write!(
                f,
                "the window of a circuit breaker holds {window} results, never the minimum of {minimum}"
            ),
            Problem::OpenTime(time) => write!(
                f,
                "the open time of a circuit breaker is {time:?}, not above 0 and below 584 years"
            ),
        }
    }
}

impl Error for InvalidSetting {}
