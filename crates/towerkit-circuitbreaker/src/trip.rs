use std::num::{NonZeroU16, NonZeroU32};

use crate::{InvalidSetting, invalid::Problem};

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
        window: NonZeroU16,
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
    /// If `rate` is not above 0 and at most 1, if `window` or `minimum` is 0, or if `minimum` is above `window` and would never be
    /// reached.
    pub fn failure_rate(rate: f64, window: u16, minimum: u16) -> Result<Self, InvalidSetting> {
        let results = NonZeroU16::new(window);
        let problem = match results {
            _ if !(rate > 0.0 && rate <= 1.0) => Problem::Rate(rate),
            Some(_) if minimum == 0 => Problem::Zero("minimum of results"),
            Some(_) if minimum > window => Problem::MinimumAboveWindow { minimum, window },
            Some(window) => {
                return Ok(Self(Rule::Rate {
                    rate,
                    window,
                    minimum,
                }));
            }
            None => Problem::Zero("window"),
        };
        Err(InvalidSetting(problem))
    }
}

impl Default for Trip {
    fn default() -> Self {
        Self(Rule::Rate {
            rate: 0.5,
            window: const { NonZeroU16::new(100).expect("not 0") },
            minimum: 20,
        })
    }
}
