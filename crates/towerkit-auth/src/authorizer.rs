use std::sync::Arc;

use towerkit_core::{Admission, CallView, Principal};

use crate::{AuthError, AuthFuture};

/// Decides if an authenticated caller may make a call.
///
/// [`Permissions`](crate::Permissions) implements it. It is asked only for calls that have a principal, and not for
/// [public](crate::AuthLayer::public) operations. A function of the principal and the call is an authorizer, too:
///
/// ```
/// use towerkit_auth::{ApiKeyAuth, ApiKeys, AuthError, AuthLayer, Principal};
/// use towerkit_core::CallView;
///
/// # let keys = ApiKeys::parse("")?;
/// let auth = AuthLayer::new(ApiKeyAuth::header("shop", "x-api-key", keys)?).authorize(
///     |caller: &Principal, call: CallView<'_>| match call.method() {
///         Some("GET") => Ok(()),
///         _ if caller.has_role("editor") => Ok(()),
///         _ => Err(AuthError::forbidden("only editors may write")),
///     },
/// );
/// # let _ = auth;
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
///
/// A panic in an authorizer is caught, and rejects the call as [`Unavailable`](towerkit_core::RejectionReason::Unavailable).
pub trait Authorizer: Send + Sync + 'static {
    /// Admits the call: at once, or by a future that does not borrow from the call.
    ///
    /// # Errors
    ///
    /// Any error rejects the call. [`AuthError::forbidden`] and [`AuthError::insufficient_scope`] say that the caller lacks the
    /// permission.
    fn authorize(
        &self,
        principal: &Principal,
        call: CallView<'_>,
    ) -> Result<Admission<(), AuthFuture<()>>, AuthError>;
}

impl<F> Authorizer for F
where
    F: Fn(&Principal, CallView<'_>) -> Result<(), AuthError> + Send + Sync + 'static,
{
    fn authorize(
        &self,
        principal: &Principal,
        call: CallView<'_>,
    ) -> Result<Admission<(), AuthFuture<()>>, AuthError> {
        self(principal, call).map(Admission::Now)
    }
}

/// An authorizer that is chosen at run time, or that other parts of the program hold as well.
impl Authorizer for Arc<dyn Authorizer> {
    fn authorize(
        &self,
        principal: &Principal,
        call: CallView<'_>,
    ) -> Result<Admission<(), AuthFuture<()>>, AuthError> {
        (**self).authorize(principal, call)
    }
}
