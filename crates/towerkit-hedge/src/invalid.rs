use std::{error::Error, fmt, time::Duration};

/// A setting with which calls would not be hedged as it says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvalidSetting(pub(crate) Problem);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Problem {
    Delay(Duration),
    Bounds { floor: Duration, ceiling: Duration },
    Quantile(f64),
    NoSamples,
    Window(Duration),
    Hedges(u8),
    Cap { ratio: f64, burst: u32 },
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Problem::Delay(delay) => {
                write!(
                    f,
                    "a hedging delay of {delay:?} is not between 1µs and 71 minutes"
                )
            }
            Problem::Bounds { floor, ceiling } => write!(
                f,
                "a hedging delay between {floor:?} and {ceiling:?} is not between 1µs and 71 minutes, or its ends are the wrong way round"
            ),
            Problem::Quantile(quantile) => {
                write!(
                    f,
                    "the percentile of a hedging delay is {quantile}, not between 0 and 1"
                )
            }
            Problem::NoSamples => {
                f.write_str("the percentile of a hedging delay needs at least one sample")
            }
            Problem::Window(window) => write!(
                f,
                "the window of a hedging delay is {window:?}, not between a second and 10 minutes"
            ),
            Problem::Hedges(hedges) => {
                write!(f, "{hedges} hedges for a call are not between 1 and 4")
            }
            Problem::Cap { ratio, burst } => write!(
                f,
                "a cap on hedges of {ratio} for each call and {burst} at once is not above 0 and at most 1 for each, and at least 1 at once"
            ),
        }
    }
}

impl Error for InvalidSetting {}
