//! Authorizes the calls of a [`tower`](https://docs.rs/tower) service by [Casbin](https://casbin.org) models and policies: an
//! [`Authorizer`](towerkit_auth::Authorizer) for the layer of [`towerkit-auth`](towerkit_auth).
//!
//! Use it for rules that operators keep in a file: access control lists, roles, rules by path. The subject is that of the
//! authenticated caller; functions read the object and the action from the call.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//! use towerkit_auth::{AuthError, AuthLayer, BearerAuth, Principal, Proof};
//! use towerkit_auth_casbin::{CasbinAuthorizer, CasbinPolicy};
//! use towerkit_http::HttpExt;
//!
//! const MODEL: &str = "
//! [request_definition]
//! r = sub, obj, act
//! [policy_definition]
//! p = sub, obj, act
//! [role_definition]
//! g = _, _
//! [policy_effect]
//! e = some(where (p.eft == allow))
//! [matchers]
//! m = g(r.sub, p.sub) && keyMatch2(r.obj, p.obj) && r.act == p.act
//! ";
//! const POLICY: &str = "
//! p, clerk, /orders/:id, GET
//! g, ann, clerk
//! ";
//!
//! // `CasbinPolicy::open("model.conf", "policy.csv")` reads files.
//! let policy = CasbinPolicy::parse(MODEL, POLICY)?;
//! let authorizer = CasbinAuthorizer::new(policy.clone(), |call| call.path(), |call| call.method())?;
//! # let bearer = BearerAuth::new("shop", |token: &str| match token {
//! #     "mF_9.B5f-4.1JqM" => Ok(Principal::new("ann", Proof::BearerToken)),
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
//! policy.replace(MODEL, "p, ann, /users/:id, GET")?;
//! assert_eq!(service.oneshot(get("/users/7")).await?.status(), StatusCode::OK);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Models with other requests
//!
//! [`CasbinAuthorizer`] decides by a subject, an object and an action. A function that calls [`CasbinPolicy::enforce`] is an authorizer
//! for requests of any form, such as those with a domain, or with the roles of the caller for subjects:
//!
//! ```
//! use towerkit_auth::{AuthError, Principal};
//! use towerkit_auth_casbin::CasbinPolicy;
//! use towerkit_core::CallView;
//!
//! # let policy = CasbinPolicy::parse(
//! #     "[request_definition]\nr = sub, dom, obj\n[policy_definition]\np = sub, dom, obj\n\
//! #      [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = r.sub == p.sub && r.dom == p.dom && r.obj == p.obj",
//! #     "p, clerk, acme, orders",
//! # )?;
//! let by_tenant = move |caller: &Principal, call: CallView<'_>| {
//!     let tenant = call.header("x-tenant").ok_or_else(|| AuthError::forbidden("no tenant"))?;
//!     let mut decisions = caller.roles().map(|role| policy.enforce(&[role, tenant, call.operation()]));
//!     decisions.find(|decision| decision.is_ok()).unwrap_or_else(|| Err(AuthError::forbidden("no role is allowed")))
//! };
//! # let _ = towerkit_auth::AuthLayer::new(towerkit_auth::BearerAuth::new("shop", |_: &str| Err(AuthError::missing()))?).authorize(by_tenant);
//! # Ok::<_, towerkit_core::ConfigError>(())
//! ```
//!
//! # Objects
//!
//! The operation of a call is the template of its route, and is safe to compare. Its path is the text that the caller sent: the policy
//! sees `/orders/%37` and `/orders//7` as they are, though a handler may take them for `/orders/7`. Compare paths only if the policy
//! allows: a path that no rule matches is denied.
//!
//! # Reloading
//!
//! [`CasbinPolicy::reload`] reads the files again and swaps the whole policy at once. Each decision is that of one policy. A policy with
//! an error is not taken; the policy before it stays in use. Replace a file by renaming a new one, so that no half of it is read.
//!
//! # Errors
//!
//! A call is admitted only if the enforcer allows it. A call that is denied, that has no object or no action, or that has a longer one
//! than [`CasbinPolicy::MAX_ARGUMENT`], is rejected as [`Forbidden`](towerkit_core::RejectionReason::Forbidden). If the matcher fails, the
//! call is rejected as [`Unavailable`](towerkit_core::RejectionReason::Unavailable). The cause goes to the
//! [events](towerkit_auth::AuthLayer::events) of the layer.
//!
//! Models and policies are checked when they are read, more strictly than Casbin does it: every line of a policy is a rule of a kind that
//! the model defines, with as many fields; patterns are valid, and compile to at most 128 KiB; the matcher evaluates.
//!
//! # Cost
//!
//! The enforcer evaluates the matcher for one rule after another, until the effect is known: one or two microseconds and some
//! allocations for each rule, on the thread of the call. Use it for hundreds of rules, not for hundreds of thousands. Patterns in a field
//! of a policy, or in quotes in the matcher, are compiled once; those that a matcher computes are compiled for each comparison.
//!
//! A comparison takes a few milliseconds at most, because a text is compared with a pattern only if both are small: a pattern of up to
//! 16 KiB with texts of up to 1,024 bytes, one of 128 KiB with texts of up to 128 bytes. A class such as `\w` takes about 9 KiB;
//! `[A-Za-z0-9_]` takes little. Other comparisons fail, and the call is rejected.
//!
//! # Functions
//!
//! `keyMatch`, `keyMatch2` to `keyMatch5`, `keyGet`, `keyGet2`, `keyGet3` and `regexMatch` behave as those of Casbin for Go, also for text
//! that is not ASCII. For `ipMatch` and `globMatch`, turn on the features `ip` and `glob` of the crate
//! [`casbin`](https://docs.rs/casbin/latest/casbin/).
//!
//! # Coming from go-kit
//!
//! [`casbin.NewEnforcer(subject, object, action)`](https://pkg.go.dev/github.com/go-kit/kit/auth/casbin#NewEnforcer) builds an enforcer for
//! each request, with a subject that is fixed. Here the enforcer is built once, the subject is the caller, and a handler that needs the
//! enforcer holds a clone of the [`CasbinPolicy`] instead of finding it in the context.

mod authorizer;
mod functions;
mod pattern;
mod policy;
mod rules;

pub use authorizer::CasbinAuthorizer;
pub use policy::CasbinPolicy;
