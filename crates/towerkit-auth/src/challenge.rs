use std::fmt::Write;

use towerkit_core::ConfigError;

/// A challenge of [`WWW-Authenticate`](https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1): a scheme and its parameters.
///
/// ```
/// use towerkit_auth::Challenge;
///
/// let challenge = Challenge::new("Basic", "the \"shop\"")?.param("charset", "UTF-8")?;
/// assert_eq!(challenge.as_str(), r#"Basic realm="the \"shop\"", charset="UTF-8""#);
/// assert!(Challenge::new("Basic", "a\r\nSet-Cookie: b").is_err());
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    text: Box<str>,
    has_errors: bool,
}

impl Challenge {
    /// Makes a challenge of a scheme for a realm, the name of the protected space.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the scheme is not a token, or if the realm has characters other than printable ASCII.
    pub fn new(scheme: &str, realm: &str) -> Result<Self, ConfigError> {
        if !is_token(scheme) {
            return Err(ConfigError::new("scheme", scheme, "a token of RFC 9110"));
        }
        let mut text = scheme.to_owned();
        text.push_str(" realm=");
        quote("realm", realm, &mut text)?;
        Ok(Self {
            text: text.into(),
            has_errors: scheme.eq_ignore_ascii_case("Bearer"),
        })
    }

    /// Adds a parameter.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the name is not a token, or if the value has characters other than printable ASCII.
    pub fn param(self, name: &str, value: &str) -> Result<Self, ConfigError> {
        if !is_token(name) {
            return Err(ConfigError::new("parameter", name, "a token of RFC 9110"));
        }
        let mut text = self.text.into_string();
        let _ = write!(text, ", {name}=");
        quote("parameter value", value, &mut text)?;
        Ok(Self {
            text: text.into(),
            ..self
        })
    }

    /// Returns the challenge as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns true if the challenge tells errors as RFC 6750, section 3, specifies: that of `Bearer`.
    pub(crate) fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// Returns the challenge for a caller that needs these scopes.
    pub(crate) fn insufficient_scope(&self, scopes: &str) -> String {
        // The characters of RFC 6749, section 3.3, need no escape in a quoted string.
        let is_scope = |c: char| c == ' ' || c.is_ascii_graphic() && c != '"' && c != '\\';
        let scopes: String = scopes.chars().filter(|c| is_scope(*c)).collect();
        format!(
            r#"{}, error="insufficient_scope", scope="{scopes}""#,
            self.text
        )
    }
}

/// Joins challenges to the value of one header. The scheme at `failed` has found invalid credentials.
pub(crate) fn join<'a>(
    challenges: impl Iterator<Item = Option<&'a Challenge>>,
    failed: Option<usize>,
) -> String {
    let mut list = String::new();
    for (at, challenge) in challenges.enumerate() {
        let Some(challenge) = challenge else { continue };
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(&challenge.text);
        if failed == Some(at) && challenge.has_errors {
            list.push_str(r#", error="invalid_token""#);
        }
    }
    list
}

/// Appends a quoted string (RFC 9110, section 5.6.4).
fn quote(setting: &'static str, value: &str, text: &mut String) -> Result<(), ConfigError> {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            ' '..='~' => text.push(c),
            _ => return Err(ConfigError::new(setting, value, "printable ASCII")),
        }
    }
    text.push('"');
    Ok(())
}

/// Returns true for a token (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}
