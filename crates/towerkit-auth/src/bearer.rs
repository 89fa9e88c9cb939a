use std::{fmt, sync::Arc};

use towerkit_core::{Admission, CallView, ConfigError, Principal};

use crate::{AuthError, AuthFuture, Authenticator, Challenge, credentials};

/// Authenticates calls by bearer tokens ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)) in the header `Authorization`.
///
/// The token is checked for its characters and its length, at most 8 KiB, before the verifier sees it. Tokens in the query and in
/// the body are not read.
pub struct BearerAuth {
    challenge: Challenge,
    verifier: Arc<dyn VerifyToken>,
}

/// Verifies bearer tokens.
///
/// `towerkit-auth-jwt` implements it. A function of the token is a verifier, too; see the [crate documentation](crate).
pub trait VerifyToken: Send + Sync + 'static {
    /// Verifies a token: at once, or by a future that does not borrow from it.
    ///
    /// # Errors
    ///
    /// [`AuthError::invalid`] if the token is invalid, [`AuthError::missing`] if it is one for another scheme that follows, and
    /// [`AuthError::unavailable`] if it cannot be verified now. The cause must not contain the token.
    fn verify(&self, token: &str)
    -> Result<Admission<Principal, AuthFuture<Principal>>, AuthError>;
}

impl<F> VerifyToken for F
where
    F: Fn(&str) -> Result<Principal, AuthError> + Send + Sync + 'static,
{
    fn verify(
        &self,
        token: &str,
    ) -> Result<Admission<Principal, AuthFuture<Principal>>, AuthError> {
        self(token).map(Admission::Now)
    }
}

impl BearerAuth {
    /// Makes the scheme. The realm names the protected space in the challenge.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the realm has characters other than printable ASCII.
    pub fn new(realm: &str, verifier: impl VerifyToken) -> Result<Self, ConfigError> {
        Ok(Self {
            challenge: Challenge::new("Bearer", realm)?,
            verifier: Arc::new(verifier),
        })
    }
}

impl Authenticator for BearerAuth {
    fn authenticate(
        &self,
        call: CallView<'_>,
    ) -> Result<Admission<Principal, AuthFuture<Principal>>, AuthError> {
        let token = credentials::authorization(call, "Bearer")?;
        let token = token68(token).ok_or_else(|| AuthError::invalid("not a bearer token"))?;
        self.verifier.verify(token)
    }

    fn challenge(&self) -> Option<&Challenge> {
        Some(&self.challenge)
    }
}

impl fmt::Debug for BearerAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerAuth")
            .field("challenge", &self.challenge)
            .finish_non_exhaustive()
    }
}

/// Returns the token as text if it has the form `b64token` of RFC 6750, section 2.1.
fn token68(token: &[u8]) -> Option<&str> {
    let end = token.iter().rposition(|byte| *byte != b'=')?;
    // Without branches, so that the compiler checks many bytes at once.
    let is_valid =
        |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'+' | b'-'..=b'/' | b'_' | b'~');
    let valid = (token[..=end].iter()).fold(true, |valid, byte| valid & is_valid(*byte));
    std::str::from_utf8(token).ok().filter(|_| valid)
}
