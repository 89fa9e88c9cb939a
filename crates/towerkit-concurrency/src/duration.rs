use std::time::Duration;

use towerkit_core::ConfigError;

/// The longest duration of a setting: far longer than any call, and far from overflow in nanoseconds.
const MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Returns the nanoseconds of `setting`, or a [`ConfigError`] unless it is positive and at most a year.
pub(crate) fn positive_nanos(setting: &'static str, value: Duration) -> Result<u64, ConfigError> {
    if value.is_zero() || value > MAX {
        let expected = "a positive duration of at most a year";
        return Err(ConfigError::new(setting, value, expected));
    }
    Ok(value.as_nanos() as u64)
}
