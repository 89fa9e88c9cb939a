use std::time::Duration;

use towerkit_core::ConfigError;

/// When an instance that fails is ejected: for a while it gets no calls.
///
/// By default an instance is ejected after five failures in a row, for 30 seconds, which double with each ejection in a row up to 5
/// minutes. At most a tenth of the instances are ejected at a time, or one if there are fewer than 20; the last instance is never
/// ejected. A call is a failure if [`CountAs::of`](towerkit_core::CountAs::of) says so.
///
/// After its time an instance is on trial: the next failure ejects it again, and a success ends the trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutlierEjection {
    pub(crate) consecutive_failures: u32,
    pub(crate) base_time: Duration,
    pub(crate) max_time: Duration,
    pub(crate) max_ratio: f64,
}

impl OutlierEjection {
    /// Makes the default rule.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            consecutive_failures: 5,
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            max_ratio: 0.1,
        }
    }

    /// Sets the number of failures in a row after which an instance is ejected; 5 by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for 0.
    pub fn consecutive_failures(mut self, failures: u32) -> Result<Self, ConfigError> {
        self.consecutive_failures =
            ConfigError::check_range("consecutive_failures", failures, 1..=u32::MAX)?;
        Ok(self)
    }

    /// Sets the time of the first ejection, and the longest time to which it doubles; 30 seconds and 5 minutes by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `base` is zero or above `max`, or if `max` is above 365 days.
    pub fn time(mut self, base: Duration, max: Duration) -> Result<Self, ConfigError> {
        ConfigError::check_duration("max", max)?;
        self.base_time = ConfigError::check_range("base", base, Duration::from_nanos(1)..=max)?;
        self.max_time = max;
        Ok(self)
    }

    /// Sets the share of the instances that may be ejected at a time; 0.1 by default.
    ///
    /// One instance may always be ejected if there is another. If more than half of the instances are ejected, all of them get calls:
    /// the cause is then hardly theirs (*panic mode*).
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `ratio` is not from 0 to 1.
    pub fn max_ratio(mut self, ratio: f64) -> Result<Self, ConfigError> {
        self.max_ratio = ConfigError::check_range("max_ratio", ratio, 0.0..=1.0)?;
        Ok(self)
    }

    /// Returns the number of instances that may be ejected at a time.
    pub(crate) fn limit(&self, members: u32) -> u32 {
        ((f64::from(members) * self.max_ratio) as u32)
            .max(1)
            .min(members.saturating_sub(1))
    }

    /// Returns the time of an ejection after this number of ejections in a row.
    pub(crate) fn time_after(&self, ejections: u32) -> Duration {
        let doubled = self.base_time.saturating_mul(1 << ejections.min(30));
        doubled.min(self.max_time)
    }
}

impl Default for OutlierEjection {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    /// LB-05
    #[test]
    fn one_instance_or_the_ratio_is_ejected_but_never_the_last() {
        let limits = |ratio| {
            let rule = OutlierEjection::new().max_ratio(ratio).unwrap();
            [0, 1, 2, 3, 10, 19, 20, 100].map(|members| rule.limit(members))
        };
        assert_eq!(limits(0.1), [0, 0, 1, 1, 1, 1, 2, 10]);
        assert_eq!(limits(0.0), [0, 0, 1, 1, 1, 1, 1, 1]);
        assert_eq!(limits(1.0), [0, 0, 1, 2, 9, 18, 19, 99]);
    }

    #[test]
    fn the_time_doubles_up_to_its_maximum() {
        let rule = OutlierEjection::new();
        let times = [0, 1, 3, 4, u32::MAX].map(|ejections| rule.time_after(ejections).as_secs());
        assert_eq!(times, [30, 60, 240, 300, 300]);
    }
}
