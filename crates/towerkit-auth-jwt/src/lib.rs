//! JSON Web Tokens for [`tower`](https://docs.rs/tower) services: verification of bearer tokens, keys that rotate, and tokens for
//! clients.
//!
//! Use [`Jwt`] in front of a service whose callers bring tokens of an identity provider: it is the verifier of
//! [`BearerAuth`](towerkit_auth::BearerAuth). Use [`AccessTokenLayer`] in a client that needs such a token itself.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{Layer, ServiceBuilder, ServiceExt};
//! use towerkit_auth::{AuthLayer, BearerAuth, Principal};
//! use towerkit_auth_jwt::{AccessTokenLayer, Algorithm, Jwt, Key, SignedTokens, SigningKey};
//! use towerkit_http::HttpExt;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let secret = b"a secret of 32 bytes, or longer.";
//! let jwt = Jwt::new(Key::secret(Algorithm::Hs256, secret)?).issuer("billing").audience("orders");
//! let orders = ServiceBuilder::new()
//!     .layer(AuthLayer::new(BearerAuth::new("orders", jwt)?).http())
//!     .service_fn(async |request: Request<()>| {
//!         let caller = request.extensions().get::<Principal>().unwrap();
//!         Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("hello, {}", caller.subject()))))
//!     });
//! assert_eq!(orders.clone().oneshot(Request::new(())).await?.status(), StatusCode::UNAUTHORIZED);
//!
//! // A client that signs its own tokens.
//! let tokens = SignedTokens::new(SigningKey::secret(Algorithm::Hs256, secret)?, Duration::from_secs(300))?;
//! let tokens = tokens.claim("iss", "billing").claim("sub", "ann").claim("aud", "orders");
//! let client = AccessTokenLayer::new(tokens).http().layer(orders);
//! assert_eq!(client.oneshot(Request::new(())).await?.status(), StatusCode::OK);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Keys
//!
//! The algorithm of a token is that of its key, which the program configures; the token has no choice. [`Key`]s of the program are
//! secrets, PEM files or JSON Web Keys. [`Jwks`] are the keys of an identity provider, by its URL, from a file, or by OpenID discovery:
//!
//! ```
//! use towerkit_auth_jwt::{Algorithm, Jwks, JwksSource, Jwt};
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = Jwks::new(JwksSource::provider("https://id.example.com/realms/shop"), [Algorithm::Es256, Algorithm::Rs256])?;
//! keys.load().await?;
//! let jwt = Jwt::new(keys).audience("orders").token_type("at+jwt").roles_claim(["realm_access", "roles"]);
//! # let _ = jwt;
//! # Ok(())
//! # }
//! ```
//!
//! Cryptography is [ring]'s, as for TLS in these crates. There is no provider to install, and a program that uses another backend
//! elsewhere is not disturbed. ring has no ES512, and no RSA keys of less than 2048 bits.
//!
//! # Cost
//!
//! The first verification of a token costs its signature. After that the token is known by a keyed hash until it expires, or until its
//! key is gone: a look-up without a lock and without an allocation. [`Jwt::cached_tokens`] sets how many are kept.
//!
//! # Readiness
//!
//! `poll_ready` of [`AccessToken`] forwards to the inner service. A call that waits for a token holds no readiness of it.
//!
//! # Cancellation
//!
//! Keys and tokens are loaded in a task that the first caller spawns and all callers share. A call that is dropped stops waiting, and
//! does not disturb the load.
//!
//! # Clones
//!
//! Clones of [`Jwt`], of [`Jwks`] and of an [`AccessTokenLayer`], and all its services, share keys, tokens and caches. A setter makes a
//! new state; set everything first.
//!
//! # Errors
//!
//! A caller learns only `invalid_token`. The [`TokenError`] is the cause in the events of [`AuthLayer`](towerkit_auth::AuthLayer). While
//! no keys could be loaded, calls are rejected as [`Unavailable`](towerkit_core::RejectionReason::Unavailable), because their tokens may
//! be valid. Events, errors and [`Debug`] show no token, no secret and no private key. An invalid setting is a
//! [`ConfigError`](towerkit_core::ConfigError).
//!
//! # Order
//!
//! Put [`AccessTokenLayer`] inside of retries and timeouts of a client, so that a call that waits for a token has a limit, and an attempt
//! after that a new token.
//!
//! # What is not there
//!
//! Encrypted tokens (JWE), token introspection (RFC 7662), proof of possession (DPoP, RFC 9449; certificates, RFC 8705), and lists of
//! revoked tokens: a token is valid until it expires or its key is gone.
//!
//! # Coming from go-kit
//!
//! | go-kit | here |
//! |---|---|
//! | `NewParser(keyFunc, method, newClaims)` | [`Jwt`], and [`Claims::to`] for claims of your own type |
//! | `NewSigner(kid, key, method, claims)`, which signs for each request | [`SignedTokens`] in an [`AccessTokenLayer`], which signs once and renews |
//! | `HTTPToContext`, `GRPCToContext` | [`BearerAuth`](towerkit_auth::BearerAuth) |
//! | `ContextToHTTP`, `ContextToGRPC` | [`AccessTokenLayer`] |
//! | `ErrTokenExpired` and others, as status 500 | [`TokenError`] in an event, and 401 for the caller |
//!
//! Tokens need `exp`, and `sub` unless [`Jwt::subject_claim`] names another claim. A token with `aud` needs [`Jwt::audience`] or
//! [`Jwt::any_audience`]. Secrets shorter than the hash need [`Key::short_secret`].
//!
//! [ring]: https://docs.rs/ring

mod access_token;
mod algorithm;
mod base64_url;
mod claims;
mod compact;
mod der;
mod fetch;
mod jwk;
mod jwks;
mod jwks_source;
mod jwt;
mod key;
mod key_set;
mod keys;
mod load_schedule;
mod loader;
mod signing_key;
mod strict_json;
mod token_error;
mod token_hash;
mod verified_tokens;
#[cfg(test)]
mod wycheproof;

pub use access_token::{
    AccessToken, AccessTokenFuture, AccessTokenLayer, AccessTokenPolicy, ClientCredentials,
    IssuedToken, SignedTokens, TokenSource,
};
pub use algorithm::Algorithm;
pub use claims::Claims;
pub use jwks::{Jwks, JwksError};
pub use jwks_source::JwksSource;
pub use jwt::Jwt;
pub use key::Key;
pub use keys::Keys;
pub use signing_key::{SignError, SigningKey};
pub use token_error::TokenError;
