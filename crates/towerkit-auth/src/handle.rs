use std::{fmt, sync::Arc};

use towerkit_core::{
    Event, Name, Rejection, RejectionReason, StateHandle,
    sync::{AtomicU64, Ordering},
};

use crate::{AuthError, auth_error::ErrorKind, challenge, config::Config};

/// Reads the counts of a running [`AuthLayer`](crate::AuthLayer).
///
/// Returned by [`AuthLayer::handle`](crate::AuthLayer::handle).
#[derive(Clone)]
pub struct AuthHandle(pub(crate) StateHandle<Arc<AuthState>>);

/// The calls of an authentication layer until one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthSnapshot {
    /// The calls without credentials that were rejected.
    pub missing: u64,
    /// The calls with invalid credentials.
    pub invalid: u64,
    /// The calls of authenticated callers without the permission.
    pub forbidden: u64,
    /// The calls that were rejected because no decision was possible.
    pub undecided: u64,
}

impl AuthHandle {
    /// Returns the [name](crate::AuthLayer::name) of the layer.
    #[must_use]
    pub fn name(&self) -> Name {
        self.0.get().config.name.clone()
    }

    /// Returns the current counts.
    #[must_use]
    pub fn snapshot(&self) -> AuthSnapshot {
        let state = self.0.get();
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        AuthSnapshot {
            missing: read(&state.missing),
            invalid: read(&state.invalid),
            forbidden: read(&state.forbidden),
            undecided: read(&state.undecided),
        }
    }
}

impl fmt::Debug for AuthHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthHandle").field(&self.snapshot()).finish()
    }
}

/// The state that all services of a layer share.
pub(crate) struct AuthState {
    pub(crate) config: Config,
    missing: AtomicU64,
    invalid: AtomicU64,
    forbidden: AtomicU64,
    undecided: AtomicU64,
}

impl AuthState {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            missing: AtomicU64::new(0),
            invalid: AtomicU64::new(0),
            forbidden: AtomicU64::new(0),
            undecided: AtomicU64::new(0),
        }
    }

    pub(crate) fn is_public(&self, operation: &str) -> bool {
        let public = self.config.public.as_ref();
        public.is_some_and(|operations| operations.contains(operation))
    }

    /// Makes the rejection of a call, counts it, and reports its cause.
    ///
    /// `scheme` is the index of the scheme that has found credentials in the call. `is_bearer` says that the caller was authenticated
    /// by a bearer token.
    #[cold]
    pub(crate) fn reject(
        &self,
        error: &AuthError,
        scheme: Option<usize>,
        is_bearer: bool,
    ) -> Rejection {
        let (count, reason, event) = match error.kind() {
            ErrorKind::Missing => (&self.missing, RejectionReason::Unauthenticated, None),
            ErrorKind::Invalid => (
                &self.invalid,
                RejectionReason::Unauthenticated,
                Some("invalid_credentials"),
            ),
            ErrorKind::Forbidden | ErrorKind::InsufficientScope(_) => (
                &self.forbidden,
                RejectionReason::Forbidden,
                Some("forbidden"),
            ),
            ErrorKind::Overloaded => (
                &self.undecided,
                RejectionReason::Overloaded,
                Some("undecided"),
            ),
            ErrorKind::Unavailable => (
                &self.undecided,
                RejectionReason::Unavailable,
                Some("undecided"),
            ),
        };
        // Relaxed: a count of its own.
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(event) = event {
            self.report(event, error);
        }
        let mut rejection = Rejection::new(reason, self.config.name.clone());
        if let Some(wait) = error.retry_after() {
            rejection = rejection.with_retry_after(wait);
        }
        match (reason, error.kind()) {
            (RejectionReason::Unauthenticated, kind) => {
                let failed = scheme.filter(|_| *kind == ErrorKind::Invalid);
                self.with_challenges(rejection, failed)
            }
            (_, ErrorKind::InsufficientScope(scopes)) if is_bearer => {
                let mut challenges = self.config.schemes.iter().filter_map(|s| s.challenge());
                match challenges.find(|challenge| challenge.has_errors()) {
                    Some(bearer) => rejection.with_challenge(bearer.insufficient_scope(scopes)),
                    None => rejection,
                }
            }
            _ => rejection,
        }
    }

    fn with_challenges(&self, rejection: Rejection, failed: Option<usize>) -> Rejection {
        let challenges = self.config.schemes.iter().map(|scheme| scheme.challenge());
        let list = challenge::join(challenges, failed);
        if list.is_empty() {
            return rejection;
        }
        rejection.with_challenge(list)
    }

    fn report(&self, event: &'static str, error: &AuthError) {
        let events = &self.config.events;
        if events.has_sink() {
            events.push(Event::Other {
                layer: "auth",
                name: self.config.name.clone(),
                event,
                message: error.cause().to_owned().into(),
            });
            events.deliver();
        }
    }
}

impl fmt::Debug for AuthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}
