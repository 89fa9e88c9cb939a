use std::{borrow::Cow, error::Error, fmt};

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
