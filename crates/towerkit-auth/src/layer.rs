use std::sync::Arc;

use towerkit_core::{
    AsAsyncGuard, AsyncPolicyService, False, IntoPolicy, LayerState, NoProtocol, OperationSet,
    Pair, Plain, PolicyLayer, layer_setters, policy_layer,
};

use crate::{
    AuthHandle, AuthenticationPolicy, Authenticator, AuthorizationPolicy, Authorizer,
    claim_headers::ClaimHeaders, config::Config, handle::AuthState,
};

/// Authenticates and authorizes calls, and rejects those without valid credentials or without the permission.
///
/// All services of one layer share its counts, its schemes, and their caches. See the [crate documentation](crate) for an example.
#[derive(Debug, Clone)]
pub struct AuthLayer<P = Plain> {
    policies: PolicyLayer<AuthPolicies, P>,
    state: LayerState<Arc<AuthState>>,
}

/// The service of an [`AuthLayer`].
pub type Auth<S, P = Plain> = AsyncPolicyService<S, AuthPolicies, P>;

type AuthPolicies =
    Pair<AsAsyncGuard<AuthenticationPolicy, False>, AsAsyncGuard<AuthorizationPolicy, False>>;

impl AuthLayer {
    /// Requires credentials of this scheme for all operations.
    #[must_use]
    pub fn new(scheme: impl Authenticator) -> Self {
        let state = Arc::new(AuthState::new(Config::new(Arc::new(scheme))));
        Self {
            policies: PolicyLayer::new(policies(&state), Plain::default()),
            state: LayerState::new(state),
        }
    }
}

impl<P> AuthLayer<P> {
    /// Accepts credentials of another scheme as well.
    ///
    /// The schemes are tried in the order in which they were added. The first scheme whose credentials are in the call decides.
    #[must_use]
    pub fn or(self, scheme: impl Authenticator) -> Self {
        self.with(|config| config.schemes.push(Arc::new(scheme)))
    }

    /// Admits calls of these operations without credentials; none by default.
    ///
    /// Credentials that are in the call all the same are verified, and rejected if they are invalid. The
    /// [authorizer](Self::authorize) is not asked. Operations of a second call are public, too.
    #[must_use]
    pub fn public(self, operations: OperationSet) -> Self {
        self.with(|config| {
            config.public = Some(match config.public.take() {
                Some(others) => others.or(operations),
                None => operations,
            });
        })
    }

    /// Admits only the calls that `authorizer` admits; all calls with valid credentials by default.
    ///
    /// [`Permissions`](crate::Permissions) is an authorizer by roles and scopes.
    #[must_use]
    pub fn authorize(self, authorizer: impl Authorizer) -> Self {
        self.with(|config| config.authorizer = Some(Arc::new(authorizer)))
    }

    /// Sets the request headers that are removed from each call because they claim a principal.
    ///
    /// By default these are `X-Forwarded-User`, `X-Remote-User`, `Remote-User`, `X-Auth-Request-User`, `X-Forwarded-Client-Cert` and
    /// others that common proxies set. Names match in any case, and with `_` for `-`. An empty list removes no header.
    #[must_use]
    pub fn claim_headers(self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.with(|config| config.claim_headers = ClaimHeaders::new(names))
    }

    layer_setters!(
        /// Rejections and events carry the name.
        name = "auth",
        /// Each is an [`Other`](towerkit_core::Event::Other) of a rejected call with its cause: `invalid_credentials`, `forbidden` or
        /// `undecided`. A call without credentials causes none.
        events
    );

    /// Returns a handle that reads the counts that all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> AuthHandle {
        AuthHandle(self.state.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.state.get().config.clone();
        set(&mut config);
        let state = Arc::new(AuthState::new(config));
        *self.policies.policy_mut() = policies(&state);
        self.state.replace(state);
        self
    }
}

policy_layer!(AuthLayer { state }, AuthPolicies, Plain);

fn policies(state: &Arc<AuthState>) -> AuthPolicies {
    let authentication = AsAsyncGuard::new(AuthenticationPolicy(Arc::clone(state)));
    let authorization = AsAsyncGuard::new(AuthorizationPolicy(Arc::clone(state)));
    let pair = (
        PolicyLayer::new(authentication, NoProtocol::default()),
        PolicyLayer::new(authorization, NoProtocol::default()),
    );
    pair.into_policy()
}
