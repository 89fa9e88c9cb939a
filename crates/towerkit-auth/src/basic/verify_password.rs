use std::sync::Arc;

use towerkit_core::Principal;

use crate::AuthError;

/// Verifies user names and passwords.
///
/// [`PasswordFile`](crate::PasswordFile) implements it, and a function of the user name and the password does:
///
/// ```
/// use towerkit_auth::{AuthError, BasicAuth, Principal, Proof};
///
/// # fn bind(user: &str, password: &str) -> Result<bool, std::io::Error> { Ok(true) }
/// let directory = |user: &str, password: &str| match bind(user, password) {
///     Ok(true) => Ok(Principal::new(user, Proof::Password)),
///     Ok(false) => Err(AuthError::invalid("wrong user name or password")),
///     Err(error) => Err(AuthError::unavailable(error.to_string())),
/// };
/// let basic = BasicAuth::new("shop", directory)?;
/// # let _ = basic;
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
///
/// It runs on a thread on which it may block. A verifier that hashes passwords takes as long for an unknown user as for a known one.
/// A panic in it is caught, and rejects the call as [`Unavailable`](towerkit_core::RejectionReason::Unavailable).
pub trait VerifyPassword: Send + Sync + 'static {
    /// Verifies a password.
    ///
    /// # Errors
    ///
    /// [`AuthError::invalid`] if the user is unknown or the password is wrong. This result is cached for a short time, as a success
    /// is; other errors are not. The cause must not contain the password.
    fn verify(&self, user: &str, password: &str) -> Result<Principal, AuthError>;

    /// Returns a number that changes when the users change, so that earlier results are forgotten; 0 by default.
    fn generation(&self) -> u64 {
        0
    }
}

impl<F> VerifyPassword for F
where
    F: Fn(&str, &str) -> Result<Principal, AuthError> + Send + Sync + 'static,
{
    fn verify(&self, user: &str, password: &str) -> Result<Principal, AuthError> {
        self(user, password)
    }
}

impl<T: VerifyPassword> VerifyPassword for Arc<T> {
    fn verify(&self, user: &str, password: &str) -> Result<Principal, AuthError> {
        (**self).verify(user, password)
    }

    fn generation(&self) -> u64 {
        (**self).generation()
    }
}
