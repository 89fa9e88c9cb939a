use std::{pin::Pin, sync::Arc};

use towerkit_core::{Admission, CallView, Principal};

use crate::{AuthError, Challenge};

/// A decision that is not known at once.
pub type AuthFuture<T> = Pin<Box<dyn Future<Output = Result<T, AuthError>> + Send>>;

/// A scheme of authentication: reads the credentials of a call, and verifies them.
///
/// `BasicAuth`, [`BearerAuth`](crate::BearerAuth), [`ApiKeyAuth`](crate::ApiKeyAuth) and `ClientCertificateAuth` implement it. A scheme
/// of your own reads the headers of the call:
///
/// ```
/// use towerkit_auth::{Admission, AuthError, AuthFuture, AuthLayer, Authenticator, Challenge, Principal, Proof};
/// use towerkit_core::CallView;
///
/// /// Admits the callers that know the word of the day.
/// struct Password(&'static str);
///
/// impl Authenticator for Password {
///     fn authenticate(&self, call: CallView<'_>) -> Result<Admission<Principal, AuthFuture<Principal>>, AuthError> {
///         match call.header("x-password") {
///             None => Err(AuthError::missing()),
///             Some(word) if word == self.0 => Ok(Admission::Now(Principal::new("friend", Proof::Other("password")))),
///             Some(_) => Err(AuthError::invalid("wrong word")),
///         }
///     }
///
///     fn challenge(&self) -> Option<&Challenge> {
///         None
///     }
/// }
///
/// let layer = AuthLayer::new(Password("swordfish"));
/// # let _ = layer;
/// ```
///
/// A real scheme compares secrets in constant time. A panic in a scheme is caught, and rejects the call as
/// [`Unavailable`](towerkit_core::RejectionReason::Unavailable).
pub trait Authenticator: Send + Sync + 'static {
    /// Verifies the credentials of the call: at once, or by a future that does not borrow from the call.
    ///
    /// # Errors
    ///
    /// [`AuthError::missing`] if the call has no credentials of this scheme; the next scheme is then tried. The future does not
    /// return it. Any other error rejects the call.
    fn authenticate(
        &self,
        call: CallView<'_>,
    ) -> Result<Admission<Principal, AuthFuture<Principal>>, AuthError>;

    /// Returns the challenge that tells a caller without valid credentials how to authenticate, if the scheme has one.
    fn challenge(&self) -> Option<&Challenge>;
}

impl<T: Authenticator + ?Sized> Authenticator for Arc<T> {
    fn authenticate(
        &self,
        call: CallView<'_>,
    ) -> Result<Admission<Principal, AuthFuture<Principal>>, AuthError> {
        (**self).authenticate(call)
    }

    fn challenge(&self) -> Option<&Challenge> {
        (**self).challenge()
    }
}
