//! Authorizes the calls of a [`tower`](https://docs.rs/tower) service by [Cedar](https://www.cedarpolicy.com) policies: an
//! [`Authorizer`](towerkit_auth::Authorizer) for the layer of [`towerkit-auth`](towerkit_auth).
//!
//! Use it for rules that operators keep in a file: roles, scopes, rules by path, exceptions from other rules. The principal is the
//! authenticated caller; functions read the action and the resource from the call.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//! use towerkit_auth::{AuthError, AuthLayer, BearerAuth, Principal, Proof};
//! use towerkit_auth_cedar::{CedarAuthorizer, CedarPolicy};
//! use towerkit_http::HttpExt;
//!
//! const POLICY: &str = r#"
//! permit(principal in Role::"clerk", action == Action::"GET", resource)
//! when { resource.id like "/orders/*" };
//!
//! forbid(principal, action, resource)
//! unless { principal.scopes.contains("orders:read") };
//! "#;
//!
//! // `CedarPolicy::open("policy.cedar")` reads a file.
//! let policy = CedarPolicy::parse(POLICY)?;
//! let authorizer = CedarAuthorizer::new(policy.clone(), |call| call.method(), |call| call.path());
//! # let bearer = BearerAuth::new("shop", |token: &str| match token {
//! #     "mF_9.B5f-4.1JqM" => Ok(Principal::new("ann", Proof::BearerToken).with_roles(["clerk"]).with_scopes(["orders:read"])),
//! #     _ => Err(AuthError::invalid("unknown token")),
//! # })?;
//! let auth = AuthLayer::new(bearer).authorize(authorizer).http();
//! let service = auth.layer(service_fn(async |_| Ok::<_, std::io::Error>(Response::new(String::new()))));
//!
//! let get = |path: &str| Request::get(path).header("authorization", "Bearer mF_9.B5f-4.1JqM").body(String::new()).unwrap();
//! assert_eq!(service.clone().oneshot(get("/orders/7")).await?.status(), StatusCode::OK);
//! assert_eq!(service.clone().oneshot(get("/users/7")).await?.status(), StatusCode::FORBIDDEN);
//!
//! // Later calls are decided by the new policy.
//! policy.replace(r#"permit(principal == User::"ann", action, resource == Resource::"/users/7");"#)?;
//! assert_eq!(service.oneshot(get("/users/7")).await?.status(), StatusCode::OK);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Entities
//!
//! [`CedarAuthorizer`] makes these entities of a call. Its context is empty.
//!
//! | entity | attributes | parents |
//! |---|---|---|
//! | `User::"<subject>"` | `scopes`, a set of strings; `proof`, such as `"bearer_token"`; `issuer`, if there is one | `Role::"<role>"` for each role |
//! | `Action::"<action>"` | | |
//! | `Resource::"<resource>"` | `id`, which `like` can compare | |
//!
//! A function that calls [`CedarPolicy::is_authorized`] is an authorizer for other entities and contexts, such as those with a schema:
//!
//! ```
//! use towerkit_auth::{AuthError, Principal};
//! use towerkit_auth_cedar::{CedarPolicy, cedar_policy::{Context, Entities, EntityId, EntityTypeName, EntityUid, Request}};
//! use towerkit_core::CallView;
//!
//! let policy = CedarPolicy::parse(r#"permit(principal in Shop::Team::"x", action, resource == Shop::Orders::"all");"#)?;
//! let teams = r#"[{"uid": {"type": "Shop::User", "id": "ann"}, "attrs": {}, "parents": [{"type": "Shop::Team", "id": "x"}]}]"#;
//! let teams = Entities::from_json_str(teams, None)?;
//! let user: EntityTypeName = "Shop::User".parse()?;
//! let orders: EntityUid = r#"Shop::Orders::"all""#.parse()?;
//! let by_team = move |caller: &Principal, call: CallView<'_>| {
//!     let caller = EntityUid::from_type_name_and_id(user.clone(), EntityId::new(caller.subject()));
//!     let action = r#"Shop::Action::"read""#.parse().expect("the name is valid");
//!     let request = Request::new(caller, action, orders.clone(), Context::empty(), None);
//!     policy.is_authorized(&request.map_err(|error| AuthError::unavailable(error.to_string()))?, &teams)
//! };
//! # let _ = towerkit_auth::AuthLayer::new(towerkit_auth::BearerAuth::new("shop", |_: &str| Err(AuthError::missing()))?).authorize(by_team);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Resources
//!
//! The operation of a call is the template of its route, and is safe to compare. Its path is the text that the caller sent: the policy
//! sees `/orders/%37` and `/orders//7` as they are, though a handler may take them for `/orders/7`. A `forbid` that compares paths can
//! be evaded by such a text; a `permit` cannot.
//!
//! # Reloading
//!
//! [`CedarPolicy::reload`] reads the file again and swaps the whole policy at once. Each decision is that of one policy. A policy with
//! an error is not taken; the policy before it stays in use. Replace a file by renaming a new one, so that no half of it is read.
//!
//! # Errors
//!
//! A call is admitted only if a `permit` applies to it, no `forbid` does, and the evaluation of every policy succeeds: Cedar itself
//! leaves out policies that fail, also a `forbid`. A call that is denied, that has no action or no resource, or that has a longer one
//! than [`CedarAuthorizer::MAX_ID`], is rejected as [`Forbidden`](towerkit_core::RejectionReason::Forbidden); if a policy fails, as
//! [`Unavailable`](towerkit_core::RejectionReason::Unavailable). The cause goes to the [events](towerkit_auth::AuthLayer::events) of the
//! layer.
//!
//! # Cost
//!
//! Cedar evaluates every policy for each call, on the thread of the call: some microseconds, and one or two more for each policy.
//!
//! # Extensions
//!
//! For the functions `ip`, `decimal` and `datetime`, turn on the features `ipaddr`, `decimal` and `datetime` of the crate
//! [`cedar-policy`](https://docs.rs/cedar-policy/4/cedar_policy/).

mod authorizer;
mod policy;

pub use authorizer::CedarAuthorizer;
pub use cedar_policy;
pub use policy::CedarPolicy;
