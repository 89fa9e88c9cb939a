use std::{borrow::Cow, error::Error, fmt, ops::RangeInclusive, time::Duration};

/// A setting with which a layer cannot work, and the values that it accepts.
///
/// Every layer of towerkit reports its configuration by this one type. Its message names the setting, the value and the range:
///
/// ```
/// use towerkit_core::ConfigError;
///
/// let error = ConfigError::new("ratio", 1.5, "a number from 0 to 1");
/// assert_eq!(error.to_string(), "invalid ratio 1.5: expected a number from 0 to 1");
/// assert_eq!(error.setting(), "ratio");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    setting: &'static str,
    value: Box<str>,
    expected: Cow<'static, str>,
}

impl ConfigError {
    /// Reports `value` of `setting`, where `expected` is a noun phrase such as `a number from 0 to 1`.
    ///
    /// The value is shown as [`Debug`](fmt::Debug) shows it, so that durations have units and texts have quotes.
    #[must_use]
    pub fn new(
        setting: &'static str,
        value: impl fmt::Debug,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            setting,
            value: format!("{value:?}").into(),
            expected: expected.into(),
        }
    }

    /// Returns `value` if it is within `range`.
    ///
    /// ```
    /// use towerkit_core::ConfigError;
    ///
    /// assert_eq!(ConfigError::check_range("probes", 3, 1..=10), Ok(3));
    /// let error = ConfigError::check_range("probes", 11, 1..=10).unwrap_err();
    /// assert_eq!(error.to_string(), "invalid probes 11: expected a number from 1 to 10");
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error that names the range if `value` is outside of it.
    pub fn check_range<T>(
        setting: &'static str,
        value: T,
        range: RangeInclusive<T>,
    ) -> Result<T, Self>
    where
        T: PartialOrd + fmt::Debug,
    {
        if range.contains(&value) {
            return Ok(value);
        }
        let (min, max) = range.into_inner();
        let expected = format!("a number from {min:?} to {max:?}");
        Err(Self::new(setting, value, expected))
    }

    /// Returns `duration` in nanoseconds if it is from 1 ns to 365 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use towerkit_core::ConfigError;
    ///
    /// assert_eq!(ConfigError::check_duration("ttl", Duration::from_millis(1)), Ok(1_000_000));
    /// let error = ConfigError::check_duration("ttl", Duration::ZERO).unwrap_err();
    /// assert_eq!(error.to_string(), "invalid ttl 0ns: expected a time from 1 ns to 365 days");
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if `duration` is zero or longer than 365 days.
    pub fn check_duration(setting: &'static str, duration: Duration) -> Result<u64, Self> {
        const MAX: Duration = Duration::from_secs(365 * 24 * 3600);
        if duration.is_zero() || duration > MAX {
            let expected = "a time from 1 ns to 365 days";
            return Err(Self::new(setting, duration, expected));
        }
        // 365 days in nanoseconds are below 2^55.
        Ok(duration.as_nanos() as u64)
    }

    /// Returns the name of the setting.
    #[must_use]
    pub const fn setting(&self) -> &'static str {
        self.setting
    }

    /// Returns the value that was rejected, as text.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns the values that the setting accepts, in words.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            value,
            expected,
        } = self;
        write!(f, "invalid {setting} {value}: expected {expected}")
    }
}

impl Error for ConfigError {}
