use std::time::Duration;

use crate::{InvalidSetting, count_window::CountWindow, invalid::Problem, time_window::TimeWindow};

/// The results that a rate is taken of.
///
/// Both `u16` and [`Duration`] turn into one, so that `OpenWhen::failure_rate(0.5, 100, 20)` is about the last 100 results and
/// `OpenWhen::failure_rate(0.5, Duration::from_secs(10), 20)` about the last 10 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The last so many results, 1 to 32 767, at 4 bytes each.
    Results(u16),
    /// The results of so much time, at least 20 ns, at 400 bytes.
    ///
    /// Counted in buckets of a twentieth of the window (rounded down to a nanosecond), which begin at multiples of that since the
    /// origin of the clock. A bucket is forgotten as a whole, 20 buckets after it began: no result is remembered longer than the
    /// window, and each at least as long as nineteen twentieths of it.
    Time(Duration),
}

impl Window {
    /// Returns the nanoseconds of a window of time.
    pub(crate) fn nanos(self) -> Option<u64> {
        match self {
            Self::Results(_) => None,
            Self::Time(time) => u64::try_from(time.as_nanos()).ok(),
        }
    }

    pub(crate) fn check(self, minimum: u32) -> Result<(), InvalidSetting> {
        let problem = match self {
            Self::Results(0) => Problem::Zero("window"),
            _ if minimum == 0 => Problem::Zero("minimum of results"),
            Self::Results(window) if window > CountWindow::MAX => Problem::WindowTooLarge(window),
            Self::Results(window) if minimum > window.into() => {
                Problem::MinimumAboveWindow { minimum, window }
            }
            Self::Time(time)
                if self
                    .nanos()
                    .is_none_or(|nanos| nanos < TimeWindow::SHORTEST) =>
            {
                Problem::WindowTime(time)
            }
            _ => return Ok(()),
        };
        Err(InvalidSetting(problem))
    }
}

impl From<u16> for Window {
    fn from(results: u16) -> Self {
        Self::Results(results)
    }
}

impl From<Duration> for Window {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}
