//! Checks of the settings.

use std::time::Duration;

use towerkit_core::ConfigError;

const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Returns a timeout in nanoseconds, if it is between 1 ns and 365 days.
pub(crate) fn check_timeout(setting: &'static str, timeout: Duration) -> Result<u64, ConfigError> {
    let error = || ConfigError::new(setting, timeout, "a time from 1 ns to 365 days");
    if timeout.is_zero() || timeout > MAX_TIMEOUT {
        return Err(error());
    }
    u64::try_from(timeout.as_nanos()).map_err(|_| error())
}

/// Returns a header name, if it is a token ([RFC 9110, section 5.6.2]) in lower case, as HTTP/2 requires.
///
/// [RFC 9110, section 5.6.2]: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
pub(crate) fn check_header(name: &'static str) -> Result<&'static str, ConfigError> {
    let is_token = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    if name.is_empty() || !name.bytes().all(is_token) {
        let expected = "a header name in lower case";
        return Err(ConfigError::new("header", name, expected));
    }
    Ok(name)
}
