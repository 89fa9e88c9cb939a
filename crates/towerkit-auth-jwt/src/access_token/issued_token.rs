use std::{fmt, pin::Pin, time::Duration};

use http::HeaderValue;
use towerkit_core::BoxError;

/// Issues the tokens of an [`AccessTokenLayer`](crate::AccessTokenLayer): [`ClientCredentials`](crate::ClientCredentials),
/// [`SignedTokens`](crate::SignedTokens), or a source of your own.
pub trait TokenSource: Send + Sync + 'static {
    /// Issues a token. One call runs at a time.
    ///
    /// The error goes to events. It must not contain a token or a secret.
    fn issue(&self) -> Pin<Box<dyn Future<Output = Result<IssuedToken, BoxError>> + Send>>;
}

/// A bearer token and its lifetime.
///
/// [`Debug`](fmt::Debug) does not show the token.
#[derive(Clone)]
pub struct IssuedToken {
    header: HeaderValue,
    lifetime: Duration,
}

impl IssuedToken {
    /// Takes a token that is valid from now on, for `lifetime`. `None` if it cannot stand in a header, or if the lifetime is 0.
    #[must_use]
    pub fn new(token: &str, lifetime: Duration) -> Option<Self> {
        // The characters of a `b64token` (RFC 6750, section 2.1).
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if token.is_empty() || !token.bytes().all(is_valid) || lifetime.is_zero() {
            return None;
        }
        let mut header = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        header.set_sensitive(true);
        Some(Self { header, lifetime })
    }

    /// Returns the value of the header `Authorization`.
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// Returns the lifetime in nanoseconds.
    pub(crate) fn lifetime(&self) -> u64 {
        u64::try_from(self.lifetime.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}
