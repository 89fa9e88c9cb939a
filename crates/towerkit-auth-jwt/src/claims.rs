use std::{fmt, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::TokenError;

/// The claims of a verified token.
#[derive(Clone, PartialEq)]
pub struct Claims(Map<String, Value>);

/// The time at which a token becomes valid, and the time at which it expires, since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Option<Duration>,
    pub(crate) expires: Duration,
}

impl Claims {
    pub(crate) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// Returns the subject (`sub`).
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// Returns the issuer (`iss`).
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.text("iss")
    }

    /// Returns the value of a claim.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Reads the claims into a type of the program's own.
    ///
    /// # Errors
    ///
    /// Returns the error of serde if the claims are not those of the type.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(Value::Object(self.0.clone()))
    }

    /// Returns the claims as a map.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// Checks the types of the registered claims (RFC 7519, section 4.1), and reads the times.
    pub(crate) fn validity(&self) -> Result<Validity, TokenError> {
        for name in ["iss", "sub", "jti"] {
            if self.get(name).is_some_and(|value| !value.is_string()) {
                return Err(TokenError::BadClaim);
            }
        }
        self.time("iat")?;
        Ok(Validity {
            not_before: self.time("nbf")?,
            expires: self.time("exp")?.ok_or(TokenError::BadClaim)?,
        })
    }

    /// Reads a `NumericDate`: seconds since 1970, which may have a fraction.
    fn time(&self, name: &str) -> Result<Option<Duration>, TokenError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        if let Some(seconds) = value.as_u64() {
            return Ok(Some(Duration::from_secs(seconds)));
        }
        match value.as_f64() {
            Some(seconds) if seconds.is_finite() && seconds >= 0.0 => {
                // A time that is too large for the type is as good as never.
                let time = Duration::try_from_secs_f64(seconds);
                Ok(Some(time.unwrap_or(Duration::MAX)))
            }
            _ => Err(TokenError::BadClaim),
        }
    }

    /// Returns true if one of the audiences is in the claim `aud`, a text or a list of texts; `None` if there is no such claim.
    pub(crate) fn has_audience(&self, expected: &[Box<str>]) -> Result<Option<bool>, TokenError> {
        let is_expected = |value: &Value| {
            let text = value.as_str().ok_or(TokenError::BadClaim)?;
            Ok(expected.iter().any(|audience| **audience == *text))
        };
        match self.get("aud") {
            None => Ok(None),
            Some(Value::Array(all)) => {
                let mut found = false;
                for audience in all {
                    found |= is_expected(audience)?;
                }
                Ok(Some(found))
            }
            Some(one) => is_expected(one).map(Some),
        }
    }

    /// Returns the scopes: those of `scope` (RFC 8693, section 4.2), separated by spaces, and those of `scp`, which some issuers use.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = &str> {
        let claims = ["scope", "scp"]
            .into_iter()
            .filter_map(|name| self.get(name));
        claims.flat_map(|claim| {
            let (one, list) = match claim {
                Value::String(text) => (Some(text), None),
                Value::Array(list) => (None, Some(list)),
                _ => (None, None),
            };
            let words = one.into_iter().flat_map(|text| text.split(' '));
            let listed = list.into_iter().flatten().filter_map(Value::as_str);
            words.chain(listed).filter(|scope| !scope.is_empty())
        })
    }

    /// Returns the roles: the texts of the claim at this path, a list or one text.
    pub(crate) fn roles(&self, path: &[Box<str>]) -> impl Iterator<Item = &str> {
        let claim = path.split_first().and_then(|(first, rest)| {
            let mut claim = self.get(first)?;
            for name in rest {
                claim = claim.get(&**name)?;
            }
            Some(claim)
        });
        let (one, list) = match claim {
            Some(Value::Array(list)) => (None, Some(list)),
            other => (other, None),
        };
        one.into_iter()
            .chain(list.into_iter().flatten())
            .filter_map(Value::as_str)
    }
}

/// Shows no claims: they may be personal data.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("claims", &self.0.len())
            .finish()
    }
}
