use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};
use towerkit_auth::{AuthError, AuthFuture, Authorizer};
use towerkit_core::{Admission, CallView, Principal};

use crate::CedarPolicy;

/// Authorizes calls by a [`CedarPolicy`]: may this principal do this action on this resource?
///
/// See the [crate documentation](crate#entities) for the entities that policies compare, and for an example.
pub struct CedarAuthorizer {
    policy: CedarPolicy,
    action: IdFn,
    resource: IdFn,
    types: Types,
}

type IdFn = Box<dyn for<'a> Fn(CallView<'a>) -> Option<&'a str> + Send + Sync>;

struct Types {
    user: EntityTypeName,
    role: EntityTypeName,
    action: EntityTypeName,
    resource: EntityTypeName,
}

impl CedarAuthorizer {
    /// The length in bytes to which the subject, the action and the resource are limited.
    ///
    /// It bounds the time of a comparison by `like`.
    pub const MAX_ID: usize = 1024;

    /// Makes an authorizer with functions that read the action and the resource from a call.
    ///
    /// A call for which one of them returns `None` is denied.
    #[must_use]
    pub fn new(
        policy: CedarPolicy,
        action: impl for<'a> Fn(CallView<'a>) -> Option<&'a str> + Send + Sync + 'static,
        resource: impl for<'a> Fn(CallView<'a>) -> Option<&'a str> + Send + Sync + 'static,
    ) -> Self {
        let named = |name: &str| name.parse().expect("the name of the type is valid");
        Self {
            policy,
            action: Box::new(action),
            resource: Box::new(resource),
            types: Types {
                user: named("User"),
                role: named("Role"),
                action: named("Action"),
                resource: named("Resource"),
            },
        }
    }
}

impl Authorizer for CedarAuthorizer {
    fn authorize(
        &self,
        principal: &Principal,
        call: CallView<'_>,
    ) -> Result<Admission<(), AuthFuture<()>>, AuthError> {
        let action =
            (self.action)(call).ok_or_else(|| AuthError::forbidden("the call has no action"))?;
        let resource = (self.resource)(call)
            .ok_or_else(|| AuthError::forbidden("the call has no resource"))?;
        let ids = [principal.subject(), action, resource];
        if ids.iter().any(|id| id.len() > Self::MAX_ID) {
            return Err(AuthError::forbidden("an id of the request is too long"));
        }
        let caller = user(&self.types, principal)?;
        let resource = object(uid(&self.types.resource, resource), resource)?;
        let request = Request::new(
            caller.uid(),
            uid(&self.types.action, action),
            resource.uid(),
            Context::empty(),
            None,
        );
        let request = request.map_err(undecided)?;
        let entities = Entities::from_entities([caller, resource], None).map_err(undecided)?;
        self.policy
            .is_authorized(&request, &entities)
            .map(Admission::Now)
    }
}

fn user(types: &Types, principal: &Principal) -> Result<Entity, AuthError> {
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let scopes = RestrictedExpression::new_set(principal.scopes().map(text));
    let mut attributes = HashMap::from([
        ("scopes".to_owned(), scopes),
        ("proof".to_owned(), text(principal.proof().as_str())),
    ]);
    if let Some(issuer) = principal.issuer() {
        attributes.insert("issuer".to_owned(), text(issuer));
    }
    let roles: HashSet<_> = principal
        .roles()
        .map(|role| uid(&types.role, role))
        .collect();
    let user = uid(&types.user, principal.subject());
    Entity::new(user, attributes, roles).map_err(undecided)
}

fn object(uid: EntityUid, id: &str) -> Result<Entity, AuthError> {
    let id = RestrictedExpression::new_string(id.to_owned());
    let attributes = HashMap::from([("id".to_owned(), id)]);
    Entity::new(uid, attributes, HashSet::new()).map_err(undecided)
}

fn uid(entity_type: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(entity_type.clone(), EntityId::new(id))
}

fn undecided(error: impl fmt::Display) -> AuthError {
    AuthError::unavailable(error.to_string())
}

impl fmt::Debug for CedarAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CedarAuthorizer")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
