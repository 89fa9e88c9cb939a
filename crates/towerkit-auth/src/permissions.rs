use std::sync::Arc;

use towerkit_core::{Admission, CallView, OperationSet, Principal};

use crate::{AuthError, AuthFuture, Authorizer};

/// Authorizes calls by the roles and the scopes of the caller, by operation.
///
/// The first rule whose operations contain that of the call decides; rules of the same operations are therefore written as one. An
/// operation without a rule is denied.
///
/// ```
/// use towerkit_auth::Permissions;
/// use towerkit_core::OperationSet;
///
/// let permissions = Permissions::new()
///     .scopes(OperationSet::exact("/orders"), "orders:read orders:write")
///     .role(OperationSet::prefix("/admin/"), "admin")
///     .authenticated(OperationSet::exact("/profile"));
/// # let _ = permissions;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Permissions(Vec<(OperationSet, Requirement)>);

#[derive(Debug, Clone)]
enum Requirement {
    Authenticated,
    AnyRole(Arc<[Box<str>]>),
    /// Separated by spaces.
    Scopes(Box<str>),
}

impl Permissions {
    /// Makes permissions that deny every operation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Admits callers with this role to these operations.
    #[must_use]
    pub fn role(self, operations: OperationSet, role: &str) -> Self {
        self.any_role(operations, [role])
    }

    /// Admits callers with at least one of these roles to these operations.
    #[must_use]
    pub fn any_role<T: Into<Box<str>>>(
        self,
        operations: OperationSet,
        roles: impl IntoIterator<Item = T>,
    ) -> Self {
        let roles = roles.into_iter().map(Into::into).collect();
        self.rule(operations, Requirement::AnyRole(roles))
    }

    /// Admits callers whose credentials grant all of these scopes, which are separated by spaces, to these operations.
    ///
    /// A caller with a bearer token that does not grant them gets the error
    /// [`insufficient_scope`](https://www.rfc-editor.org/rfc/rfc6750#section-3.1) with the list.
    #[must_use]
    pub fn scopes(self, operations: OperationSet, scopes: &str) -> Self {
        self.rule(operations, Requirement::Scopes(scopes.into()))
    }

    /// Admits every authenticated caller to these operations.
    #[must_use]
    pub fn authenticated(self, operations: OperationSet) -> Self {
        self.rule(operations, Requirement::Authenticated)
    }

    fn rule(mut self, operations: OperationSet, requirement: Requirement) -> Self {
        self.0.push((operations, requirement));
        self
    }
}

impl Authorizer for Permissions {
    fn authorize(
        &self,
        principal: &Principal,
        call: CallView<'_>,
    ) -> Result<Admission<(), AuthFuture<()>>, AuthError> {
        let operation = call.operation();
        let mut rules = self.0.iter();
        let rule = rules.find(|(operations, _)| operations.contains(operation));
        let admits = match rule {
            None => return Err(AuthError::forbidden("no permission for the operation")),
            Some((_, Requirement::Authenticated)) => true,
            Some((_, Requirement::AnyRole(roles))) => {
                roles.iter().any(|role| principal.has_role(role))
            }
            Some((_, Requirement::Scopes(scopes))) => {
                let mut needed = scopes.split_ascii_whitespace();
                if !needed.all(|scope| principal.has_scope(scope)) {
                    return Err(AuthError::insufficient_scope(scopes));
                }
                true
            }
        };
        if !admits {
            return Err(AuthError::forbidden("no role for the operation"));
        }
        Ok(Admission::Now(()))
    }
}
