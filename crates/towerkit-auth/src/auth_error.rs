use std::{borrow::Cow, error::Error, fmt, time::Duration};

/// The reason for which an [`Authenticator`](crate::Authenticator) or an [`Authorizer`](crate::Authorizer) rejects a call.
///
/// The caller sees only its kind. The cause goes to the [events](crate::AuthLayer::events) of the layer, and must not contain
/// credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthError {
    kind: ErrorKind,
    cause: Cow<'static, str>,
    retry_after: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Missing,
    Invalid,
    Forbidden,
    InsufficientScope(Box<str>),
    Overloaded,
    Unavailable,
}

impl AuthError {
    /// Reports that the call has no credentials of the scheme, so that the next scheme is tried.
    #[must_use]
    pub const fn missing() -> Self {
        Self::new(ErrorKind::Missing, Cow::Borrowed("no credentials"))
    }

    /// Reports invalid credentials: 401 over HTTP, `UNAUTHENTICATED` over gRPC. Further schemes are not tried.
    #[must_use]
    pub fn invalid(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, cause.into())
    }

    /// Reports that the caller lacks the permission: 403 over HTTP, `PERMISSION_DENIED` over gRPC.
    #[must_use]
    pub fn forbidden(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Forbidden, cause.into())
    }

    /// Reports, as [`forbidden`](Self::forbidden), that the operation needs these scopes, separated by spaces.
    ///
    /// Over HTTP, the caller that sent a bearer token gets them in the attribute `scope` of
    /// [`insufficient_scope`](https://www.rfc-editor.org/rfc/rfc6750#section-3.1).
    #[must_use]
    pub fn insufficient_scope(scopes: &str) -> Self {
        let cause = Cow::Borrowed("insufficient scope");
        Self::new(ErrorKind::InsufficientScope(scopes.into()), cause)
    }

    /// Reports that there is no capacity to verify the credentials now: 503 over HTTP, `UNAVAILABLE` over gRPC.
    #[must_use]
    pub fn overloaded(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Overloaded, cause.into())
    }

    /// Reports that the decision needs something that cannot be reached: 503 over HTTP, `UNAVAILABLE` over gRPC.
    #[must_use]
    pub fn unavailable(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, cause.into())
    }

    const fn new(kind: ErrorKind, cause: Cow<'static, str>) -> Self {
        Self {
            kind,
            cause,
            retry_after: None,
        }
    }

    /// Adds the time after which a retry may succeed.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Returns the cause, for the operator.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// Returns true if the call has no credentials of the scheme.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.kind == ErrorKind::Missing
    }

    /// Returns true if the credentials are invalid.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.kind == ErrorKind::Invalid
    }

    pub(crate) fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl Error for AuthError {}
