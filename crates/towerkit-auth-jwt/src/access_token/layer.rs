use std::sync::Arc;

use towerkit_core::{
    AsAsyncGuard, AsyncPolicyService, Clock, EventQueue, False, Name, Plain, PolicyLayer,
    layer_setters, policy_layer,
};

use super::{
    AccessTokenPolicy, TokenSource,
    config::{Config, TokenState},
};

/// Adds a bearer token to the requests of an HTTP client: `Authorization: Bearer ..`.
///
/// - The first call obtains a token; all calls until then wait for it. One request for a token runs at a time.
/// - After about three quarters of its lifetime the token is renewed in the background, and used until then.
/// - If a renewal fails, the next one follows after 1 s, 2 s, 4 s, up to 60 s. Once the token has expired, calls are rejected as
///   [`Unavailable`](towerkit_core::RejectionReason::Unavailable), with the time until the next attempt.
///
/// A request that has an `Authorization` already gets this one instead.
///
/// A token is obtained in a task that it spawns, so that a call that is dropped does not disturb the others. This needs a tokio runtime;
/// without one, calls are rejected.
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt};
/// use towerkit_auth_jwt::{AccessTokenLayer, Algorithm, SignedTokens, SigningKey};
/// use towerkit_http::HttpExt;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let key = SigningKey::secret(Algorithm::Hs256, b"a secret of 32 bytes, or longer.")?;
/// let source = SignedTokens::new(key, Duration::from_secs(300))?.claim("sub", "billing");
/// let client = ServiceBuilder::new()
///     .layer(AccessTokenLayer::new(source).http())
///     .service_fn(async |request: Request<()>| {
///         assert!(request.headers()["authorization"].to_str().unwrap().starts_with("Bearer eyJ"));
///         Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
///     });
/// assert_eq!(client.oneshot(Request::new(())).await?.status(), 200);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct AccessTokenLayer<P = Plain> {
    policies: PolicyLayer<AsAsyncGuard<AccessTokenPolicy, False>, P>,
}

/// The service of an [`AccessTokenLayer`].
pub type AccessToken<S, P = Plain> =
    AsyncPolicyService<S, AsAsyncGuard<AccessTokenPolicy, False>, P>;

impl AccessTokenLayer {
    /// Takes the tokens from `source`.
    #[must_use]
    pub fn new(source: impl TokenSource) -> Self {
        let state = TokenState::new(Config {
            source: Arc::new(source),
            name: Name::new("access token"),
            clock: Clock::default(),
            events: EventQueue::default(),
        });
        let policy = AsAsyncGuard::new(AccessTokenPolicy(Arc::new(state)));
        Self {
            policies: PolicyLayer::new(policy, Plain::default()),
        }
    }
}

impl<P> AccessTokenLayer<P> {
    layer_setters!(
        /// Rejections and events carry the name.
        name = "access token",
        /// It measures the lifetime of tokens.
        clock,
        /// Each is an [`Other`](towerkit_core::Event::Other) of the kind `renewal_failed`.
        events
    );

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        let AccessTokenPolicy(state) = self.policies.policy_mut().get_mut();
        let mut config = state.config.clone();
        set(&mut config);
        *state = Arc::new(TokenState::new(config));
        self
    }
}

policy_layer!(
    AccessTokenLayer,
    AsAsyncGuard<AccessTokenPolicy, False>,
    Plain
);
