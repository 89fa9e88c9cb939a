use std::{fmt, time::Duration};

use towerkit_core::ConfigError;

use crate::gcra::Gcra;

/// A rate and a burst: the number of calls in a period of time, and the number of calls at once.
///
/// Calls are spread evenly: with 60 calls a minute and a burst of 1, one call is admitted each second. The
/// [crate documentation](crate#algorithm) explains the algorithm.
///
/// ```
/// use std::time::Duration;
/// use towerkit_ratelimit::Quota;
///
/// let quota = Quota::new(3, Duration::from_secs(60))?.burst(10)?;
/// assert_eq!(quota.to_string(), "3 per 60s, burst 10");
/// assert!(Quota::per_second(0).is_err());
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    count: u32,
    period: Duration,
    burst: u32,
}

impl Quota {
    /// Admits `count` calls in each `period`, evenly spread, with a burst of `count`.
    ///
    /// # Errors
    ///
    /// If either is zero, or if an empty bucket of that size takes longer than about two years to fill.
    pub fn new(count: u32, period: Duration) -> Result<Self, ConfigError> {
        let burst = count;
        Self {
            count,
            period,
            burst,
        }
        .checked()
    }

    /// Admits `count` calls a second, evenly spread, with a burst of `count`.
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new).
    pub fn per_second(count: u32) -> Result<Self, ConfigError> {
        Self::new(count, Duration::from_secs(1))
    }

    /// Sets the number of calls that are admitted at once after a pause; `count` by default.
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new).
    pub fn burst(mut self, burst: u32) -> Result<Self, ConfigError> {
        self.burst = burst;
        self.checked()
    }

    /// Returns the number of calls that are admitted in each [`period`](Self::period).
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Returns the time in which [`count`](Self::count) calls are admitted.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// Returns the number of calls that are admitted at once after a pause.
    #[must_use]
    pub const fn burst_size(&self) -> u32 {
        self.burst
    }

    fn checked(self) -> Result<Self, ConfigError> {
        let Self {
            count,
            period,
            burst,
        } = self;
        let error = |setting, value: &dyn fmt::Debug, expected: &'static str| {
            Err(ConfigError::new(setting, value, expected))
        };
        match self {
            Self { count: 0, .. } => error("quota count", &count, "at least 1"),
            Self { burst: 0, .. } => error("quota burst", &burst, "at least 1"),
            Self { period, .. } if period.is_zero() => {
                error("quota period", &period, "more than zero")
            }
            _ if Gcra::new(count, period, burst).is_none() => {
                let fills = "a rate and a burst whose bucket fills within two years";
                error("quota", &format_args!("{self}"), fills)
            }
            _ => Ok(self),
        }
    }

    pub(crate) fn gcra(&self) -> Gcra {
        let gcra = Gcra::new(self.count, self.period, self.burst);
        gcra.expect("a quota is checked when it is made")
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            count,
            period,
            burst,
        } = self;
        write!(f, "{count} per {period:?}, burst {burst}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-07, RL-06
    #[test]
    fn a_quota_that_cannot_work_is_a_config_error() {
        let day = Duration::from_secs(24 * 3600);
        assert!(Quota::new(1, 30 * day).is_ok());
        assert!(
            Quota::per_second(1_000_000_000)
                .and_then(|q| q.burst(u32::MAX))
                .is_ok()
        );
        assert!(Quota::per_second(u32::MAX).is_ok());
        for (quota, setting) in [
            (Quota::per_second(0), "quota count"),
            (Quota::new(1, Duration::ZERO), "quota period"),
            (Quota::new(1, Duration::MAX), "quota"),
            (Quota::new(u32::MAX, Duration::MAX), "quota"),
            (Quota::per_second(1).and_then(|q| q.burst(0)), "quota burst"),
            (
                Quota::new(1, 30 * day).and_then(|q| q.burst(u32::MAX)),
                "quota",
            ),
        ] {
            let error = quota.unwrap_err();
            assert_eq!(error.setting(), setting, "{error}");
        }
    }
}
