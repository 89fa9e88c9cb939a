use std::fmt;

use towerkit_auth::{AuthError, AuthFuture, Authorizer};
use towerkit_core::{Admission, CallView, ConfigError, Principal};

use crate::CasbinPolicy;

/// Authorizes calls by a [`CasbinPolicy`]: may this subject do this action on this object?
///
/// The subject is that of the [`Principal`]. See the [crate documentation](crate) for an example.
pub struct CasbinAuthorizer {
    policy: CasbinPolicy,
    object: ArgumentFn,
    action: ArgumentFn,
}

type ArgumentFn = Box<dyn for<'a> Fn(CallView<'a>) -> Option<&'a str> + Send + Sync>;

impl CasbinAuthorizer {
    /// Makes an authorizer with functions that read the object and the action from a call.
    ///
    /// A call for which one of them returns `None` is denied.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the requests of the model have more or fewer than three elements.
    pub fn new(
        policy: CasbinPolicy,
        object: impl for<'a> Fn(CallView<'a>) -> Option<&'a str> + Send + Sync + 'static,
        action: impl for<'a> Fn(CallView<'a>) -> Option<&'a str> + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let elements = policy.request_elements();
        if elements != 3 {
            let expected = "a subject, an object and an action";
            return Err(ConfigError::new(
                "number of request elements",
                elements,
                expected,
            ));
        }
        Ok(Self {
            policy,
            object: Box::new(object),
            action: Box::new(action),
        })
    }
}

impl Authorizer for CasbinAuthorizer {
    fn authorize(
        &self,
        principal: &Principal,
        call: CallView<'_>,
    ) -> Result<Admission<(), AuthFuture<()>>, AuthError> {
        let object =
            (self.object)(call).ok_or_else(|| AuthError::forbidden("the call has no object"))?;
        let action =
            (self.action)(call).ok_or_else(|| AuthError::forbidden("the call has no action"))?;
        self.policy
            .enforce(&[principal.subject(), object, action])
            .map(Admission::Now)
    }
}

impl fmt::Debug for CasbinAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CasbinAuthorizer")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
