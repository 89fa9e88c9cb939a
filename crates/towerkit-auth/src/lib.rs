//! Authenticates and authorizes the calls of a [`tower`](https://docs.rs/tower) service: Basic authentication, bearer tokens, API
//! keys, client certificates, and permissions by operation.
//!
//! Use it around an axum, tonic or hyper application, around an endpoint, or in front of a proxy. A call with valid credentials
//! reaches the inner service with a [`Principal`]. Any other call is rejected: 401 with the challenges of all schemes in one
//! [`WWW-Authenticate`](https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1), or 403.
//!
//! ```
//! # #[cfg(feature = "basic")] {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use axum::{Extension, Router, body::Body, routing::get};
//! use http::{Request, StatusCode};
//! use tower::ServiceExt;
//! use towerkit_auth::{AuthLayer, BasicAuth, PasswordFile, Permissions, Principal};
//! use towerkit_core::OperationSet;
//! use towerkit_http::HttpExt;
//!
//! // The file is as `htpasswd -B` writes it; the roles of a user may follow.
//! let users = PasswordFile::parse("ann:$2y$04$TgmBEcadOYsBtrFY93.fD.2pgbe2ZGeFlx0aXqibjpW.lEd1bWOTm:clerk")?;
//! let auth = AuthLayer::new(BasicAuth::new("shop", users)?)
//!     .public(OperationSet::exact("/healthz"))
//!     .authorize(Permissions::new().role(OperationSet::prefix("/orders"), "clerk"));
//!
//! let app = Router::new()
//!     .route("/healthz", get(async || "ok"))
//!     .route("/orders", get(async |Extension(caller): Extension<Principal>| format!("hello, {}", caller.subject())))
//!     .route("/admin", get(async || "restricted"))
//!     .layer(auth.axum());
//!
//! let get = |path: &str| Request::get(path).body(Body::empty());
//! assert_eq!(app.clone().oneshot(get("/healthz")?).await?.status(), StatusCode::OK);
//! let rejected = app.clone().oneshot(get("/orders")?).await?;
//! assert_eq!(rejected.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(rejected.headers()["www-authenticate"], r#"Basic realm="shop", charset="UTF-8""#);
//!
//! let as_ann = |path: &str| Request::get(path).header("authorization", "Basic YW5uOm9wZW4gc2VzYW1l").body(Body::empty());
//! assert_eq!(app.clone().oneshot(as_ann("/orders")?).await?.status(), StatusCode::OK);
//! // An operation without a permission is denied.
//! assert_eq!(app.oneshot(as_ann("/admin")?).await?.status(), StatusCode::FORBIDDEN);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # }
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Schemes
//!
//! | scheme | credentials | verified by |
//! |---|---|---|
//! | `BasicAuth` (feature `basic`) | user name and password ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)) | a `PasswordFile`, or a `VerifyPassword` of your own |
//! | [`BearerAuth`] | a bearer token ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)) | a [`VerifyToken`] of your own, or `towerkit-auth-jwt` |
//! | [`ApiKeyAuth`] | a key in a header or in the query | [`ApiKeys`], which contain only SHA-256 digests |
//! | `ClientCertificateAuth` (feature `http`) | a certificate that `towerkit-server` has verified | its SPIFFE id or DNS name |
//!
//! [`AuthLayer::or`] adds further schemes. They are tried in order; the first scheme whose credentials are in the call decides. A
//! scheme of your own implements [`Authenticator`].
//!
//! # Around other services
//!
//! A tonic server, with API keys in the metadata. Operations are named `package.Service/Method`:
//!
//! ```
//! use towerkit_auth::{ApiKeyAuth, ApiKeys, AuthLayer};
//! use towerkit_core::OperationSet;
//! use towerkit_http::HttpExt;
//!
//! // The digest is that of `printf %s KEY | sha256sum`, of a random key.
//! let keys = ApiKeys::parse("billing:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae:orders:read")?;
//! let auth = AuthLayer::new(ApiKeyAuth::header("shop", "x-api-key", keys)?)
//!     .public(OperationSet::prefix("grpc.health.v1.Health/"))
//!     .grpc();
//! // tonic::transport::Server::builder().layer(auth).add_service(..)
//! # let _ = auth;
//! # Ok::<_, towerkit_core::ConfigError>(())
//! ```
//!
//! An endpoint, over whichever transport it is served, with tokens that a function verifies:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use tower::{Layer, ServiceExt};
//! use towerkit_auth::{AuthError, AuthLayer, BearerAuth, Principal, Proof};
//! use towerkit_core::ErrorCode;
//! use towerkit_endpoint::{IntoRpcError, Request, RpcError, RpcExt, endpoint_fn};
//!
//! let bearer = BearerAuth::new("shop", |token: &str| match token {
//!     "mF_9.B5f-4.1JqM" => Ok(Principal::new("ann", Proof::BearerToken)),
//!     _ => Err(AuthError::invalid("unknown token")),
//! })?;
//! let sum = endpoint_fn((), async |(), (a, b): (u32, u32)| Ok::<_, RpcError>(a + b));
//! let sum = AuthLayer::new(bearer).rpc().layer(sum);
//!
//! let mut request = Request::new("sum", (1, 2));
//! let error = sum.clone().oneshot(request.clone()).await.unwrap_err();
//! assert_eq!(error.code(), ErrorCode::Unauthenticated);
//! request.headers.insert("authorization", "Bearer mF_9.B5f-4.1JqM".parse().unwrap());
//! assert_eq!(sum.oneshot(request).await.unwrap(), 3);
//! # Ok::<_, towerkit_core::ConfigError>(())
//! # }).unwrap();
//! ```
//!
//! A hyper service without a router, where all calls are one operation:
//!
//! ```
//! # #[cfg(feature = "http")] {
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use hyper::body::Incoming;
//! use tower::ServiceBuilder;
//! use towerkit_auth::{AuthLayer, ClientCertificateAuth};
//! use towerkit_http::HttpExt;
//!
//! let service = ServiceBuilder::new()
//!     .layer(AuthLayer::new(ClientCertificateAuth::spiffe("example.org")?).http())
//!     .service_fn(async |_: Request<Incoming>| Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from("hello"))));
//! # let _ = service;
//! # }
//! # Ok::<_, towerkit_core::ConfigError>(())
//! ```
//!
//! # Authorization
//!
//! Without [`AuthLayer::authorize`] every authenticated caller is admitted. With [`Permissions`], or an [`Authorizer`] of your own, an
//! operation that has no permission is denied. Operations in [`AuthLayer::public`] need no credentials; if a call has credentials all
//! the same, they are verified.
//!
//! # The principal
//!
//! Inner layers read the principal by [`Call::principal`](towerkit_core::Call::principal): `towerkit-log` in
//! [`.field("user", ..)`](https://docs.rs/towerkit-log), and a rate limit by key with `ByPrincipal`. Handlers find it in the
//! [extensions](https://docs.rs/http/latest/http/struct.Extensions.html) of the request. Headers by which proxies pass a principal on,
//! such as `X-Forwarded-User`, are removed from each call: see [`AuthLayer::claim_headers`].
//!
//! # Readiness
//!
//! [`poll_ready`](https://docs.rs/tower-service/0.3/tower_service/trait.Service.html#tymethod.poll_ready) forwards to the inner
//! service. A call that waits for its authentication first releases the readiness of the inner service.
//!
//! # Cancellation
//!
//! Dropping the response future drops the authentication. A password that waits to be hashed is not hashed then; a hash that has
//! started runs to its end, and its result is cached.
//!
//! # Clones
//!
//! All services of one layer, and their clones, share the layer's counts, its schemes, and their caches.
//!
//! # Errors
//!
//! The response says only that the credentials are missing or invalid, or that the caller lacks the permission; for bearer tokens it
//! has the errors `invalid_token` and `insufficient_scope` of [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-3.1). The cause
//! goes to [`AuthLayer::events`]. If passwords wait in a full queue, or a verifier fails, the call is rejected as
//! [`Overloaded`](towerkit_core::RejectionReason::Overloaded) or
//! [`Unavailable`](towerkit_core::RejectionReason::Unavailable).
//!
//! An event, an error and the output of [`Debug`] never contain credentials. Errors of the inner service pass through
//! unchanged. An invalid setting is a [`ConfigError`].
//!
//! # Order
//!
//! In a server, put it inside of logs, metrics and traces, so that they record rejections, and inside of a rate limit for all
//! callers or by client address, which bounds the failures of each client. Put limits by principal, caches and the handler inside of
//! it.
//!
//! # Blocking threads
//!
//! `BasicAuth` spawns one blocking task of tokio while passwords wait to be hashed, so that hashing takes at most one core.
//!
//! # Coming from go-kit
//!
//! [`basic.AuthMiddleware(user, password, realm)`](https://pkg.go.dev/github.com/go-kit/kit/auth/basic#AuthMiddleware) corresponds to
//! `BasicAuth` with a `PasswordFile` of one user. No function has to copy the header into the context. The scheme is matched in any
//! case, and the response has one `Content-Type`.
//!
//! [`ConfigError`]: towerkit_core::ConfigError

mod api_key;
mod api_keys;
mod auth_error;
mod authenticator;
mod authorizer;
#[cfg(feature = "basic")]
mod basic;

mod bearer;
mod challenge;
mod claim_headers;
mod config;
mod credentials;
mod guard;
mod handle;
#[cfg(feature = "http")]
mod http;
mod layer;
mod permissions;

pub use api_key::ApiKeyAuth;
pub use api_keys::ApiKeys;
pub use auth_error::AuthError;
pub use authenticator::{AuthFuture, Authenticator};
pub use authorizer::Authorizer;
#[cfg(feature = "basic")]
pub use basic::{BasicAuth, BasicSnapshot, PasswordFile, VerifyPassword};
pub use bearer::{BearerAuth, VerifyToken};
pub use challenge::Challenge;
pub use guard::{AuthenticateFuture, AuthenticationPolicy, AuthorizationPolicy};
pub use handle::{AuthHandle, AuthSnapshot};
#[cfg(feature = "http")]
pub use http::ClientCertificateAuth;
pub use layer::{Auth, AuthLayer};
pub use permissions::Permissions;
pub use towerkit_core::{Admission, Principal, Proof};
