use std::num::NonZeroU32;

use crate::{InvalidSetting, invalid::Problem, window::Window};

/// When a closed breaker opens.
///
/// The default is `failure_rate(0.5, 100, 20)`: half of the last 100 results are failures, once there are 20.
///
/// ```
/// use towerkit_circuitbreaker::Trip;
///
/// assert_eq!(Trip::failure_rate(0.5, 100, 20)?, Trip::default());
/// assert!(Trip::failure_rate(f64::NAN, 100, 20).is_err());
/// # Ok::<_, towerkit_circuitbreaker::InvalidSetting>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trip(pub(crate) Rule);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rule {
    Streak(NonZeroU32),
    Rate {
        rate: f64,
        window: u16,
        minimum: u16,
    },
}

impl Trip {
    /// Opens at the `failures`th failure in a row.
    ///
    /// # Errors
    ///
    /// If `failures` is 0.
    pub fn consecutive_failures(failures: u32) -> Result<Self, InvalidSetting> {
        NonZeroU32::new(failures)
            .map(|failures| Self(Rule::Streak(failures)))
            .ok_or(InvalidSetting(Problem::Zero("number of failures")))
    }

    /// Opens when the share `rate` of the last `window` results, or more, are failures, and there are at least `minimum` results.
    ///
    /// The window slides with every result and is empty after every change of state, so that a breaker which has just closed gathers
    /// `minimum` results before it judges again. It takes 4 bytes a result.
    ///
    /// The rate is compared with the quotient in `f64`, so that one failure in three reaches `1.0 / 3.0`.
    ///
    /// # Errors
    ///
    /// If `rate` is not above 0 and at most 1, if `window` is not 1 to 32 767, or if `minimum` is not 1 to `window`.
    pub fn failure_rate(rate: f64, window: u16, minimum: u16) -> Result<Self, InvalidSetting> {
        let problem = match (window, minimum) {
            _ if !(rate > 0.0 && rate <= 1.0) => Problem::Rate(rate),
            (0, _) => Problem::Zero("window"),
            (_, 0) => Problem::Zero("minimum of results"),
            (window, _) if window > Window::MAX => Problem::WindowTooLarge(window),
            (window, minimum) if minimum > window => {
                Problem::MinimumAboveWindow { minimum, window }
            }
            (window, minimum) => {
                return Ok(Self(Rule::Rate {
                    rate,
                    window,
                    minimum,
                }));
            }
        };
        Err(InvalidSetting(problem))
    }
}

impl Default for Trip {
    fn default() -> Self {
        Self(Rule::Rate {
            rate: 0.5,
            window: 100,
            minimum: 20,
        })
    }
}
