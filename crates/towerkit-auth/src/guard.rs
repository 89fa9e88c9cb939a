use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use towerkit_core::{
    Admission, AsyncGuard, Call, CallEnd, CallView, Policy, Principal, Proof, Rejection,
};

use crate::{AuthError, AuthFuture, handle::AuthState};

/// The guard behind [`AuthLayer`](crate::AuthLayer) that authenticates calls.
#[derive(Debug, Clone)]
pub struct AuthenticationPolicy(pub(crate) Arc<AuthState>);

/// The guard behind [`AuthLayer`](crate::AuthLayer) that authorizes calls.
#[derive(Debug, Clone)]
pub struct AuthorizationPolicy(pub(crate) Arc<AuthState>);

/// The future of an authentication or an authorization that is not decided at once.
pub struct AuthenticateFuture<T> {
    decision: AuthFuture<T>,
    state: Arc<AuthState>,
    /// The scheme that has found credentials in the call.
    scheme: Option<usize>,
    is_bearer: bool,
}

impl Policy for AuthenticationPolicy {
    /// The principal of a call that has waited, until it is attached to the request.
    type CallState = Option<Principal>;
    const NEEDS_END: bool = false;

    fn finish(&self, _state: Option<Principal>, _end: &CallEnd) {}
}

impl<Req> AsyncGuard<Req> for AuthenticationPolicy {
    type Wait = AuthenticateFuture<Option<Principal>>;

    fn admit(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Option<Principal>, Self::Wait>, Rejection> {
        let state = &self.0;
        call.remove_headers(&|name| state.config.claim_headers.contains(name));
        let (scheme, result) = find_credentials(state, call.view());
        match result {
            Ok(Admission::Now(principal)) => {
                call.set_principal(principal);
                Ok(Admission::Now(None))
            }
            Ok(Admission::Later(decision)) => Ok(Admission::Later(AuthenticateFuture {
                decision: Box::pin(async { decision.await.map(Some) }),
                state: Arc::clone(state),
                scheme,
                is_bearer: false,
            })),
            Err(error) if error.is_missing() && state.is_public(call.operation()) => {
                Ok(Admission::Now(None))
            }
            Err(error) => Err(state.reject(&error, scheme, false)),
        }
    }

    fn on_admitted(&self, state: &mut Option<Principal>, call: &mut Call<'_, Req>) {
        if let Some(principal) = state.take() {
            call.set_principal(principal);
        }
    }
}

type Authentication = Result<Admission<Principal, AuthFuture<Principal>>, AuthError>;

/// Asks the schemes in order, and returns the answer of the first whose credentials are in the call.
fn find_credentials(state: &AuthState, call: CallView<'_>) -> (Option<usize>, Authentication) {
    for (at, scheme) in state.config.schemes.iter().enumerate() {
        let result = catch_unwind(AssertUnwindSafe(|| scheme.authenticate(call)));
        match result.unwrap_or_else(|_| Err(panicked())) {
            Err(error) if error.is_missing() => {}
            result => return (Some(at), result),
        }
    }
    (None, Err(AuthError::missing()))
}

impl Policy for AuthorizationPolicy {
    type CallState = ();
    const NEEDS_END: bool = false;

    fn finish(&self, (): (), _end: &CallEnd) {}
}

impl<Req> AsyncGuard<Req> for AuthorizationPolicy {
    type Wait = AuthenticateFuture<()>;

    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Admission<(), Self::Wait>, Rejection> {
        let state = &self.0;
        let Some(authorizer) = &state.config.authorizer else {
            return Ok(Admission::Now(()));
        };
        if state.is_public(call.operation()) {
            return Ok(Admission::Now(()));
        }
        let Some(principal) = call.principal() else {
            // The protocol has no place for the principal that was authenticated.
            let error = AuthError::forbidden("the protocol cannot carry a principal");
            return Err(state.reject(&error, None, false));
        };
        let is_bearer = principal.proof() == Proof::BearerToken;
        let decide = || authorizer.authorize(principal, call.view());
        let result = catch_unwind(AssertUnwindSafe(decide));
        match result.unwrap_or_else(|_| Err(panicked())) {
            Ok(Admission::Now(())) => Ok(Admission::Now(())),
            Ok(Admission::Later(decision)) => Ok(Admission::Later(AuthenticateFuture {
                decision,
                state: Arc::clone(state),
                scheme: None,
                is_bearer,
            })),
            // A caller that is known has credentials.
            Err(error) => Err(state.reject(&error, None, is_bearer)),
        }
    }
}

fn panicked() -> AuthError {
    AuthError::unavailable("the decision panicked")
}

impl<T> Future for AuthenticateFuture<T> {
    type Output = Result<T, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.get_mut();
        let polled = catch_unwind(AssertUnwindSafe(|| me.decision.as_mut().poll(cx)));
        let result = match polled {
            Ok(polled) => ready!(polled),
            Err(_) => Err(panicked()),
        };
        let reject = |error| me.state.reject(&error, me.scheme, me.is_bearer);
        Poll::Ready(result.map_err(reject))
    }
}

impl<T> fmt::Debug for AuthenticateFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateFuture").finish_non_exhaustive()
    }
}
