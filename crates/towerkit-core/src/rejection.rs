use std::{convert::Infallible, error::Error, fmt, sync::Arc, time::Duration};

use crate::{Name, Outcome};

/// The reason of a rejection.
///
/// The table of the HTTP status and the gRPC code of each reason is in
/// `docs/contract.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionReason {
    /// A rate limit is exceeded.
    RateLimited,
    /// A circuit breaker is open.
    CircuitOpen,
    /// The service sheds load.
    Overloaded,
    /// The deadline passed before there was a response.
    DeadlineExceeded,
    /// The request has no valid credentials.
    Unauthenticated,
    /// The caller lacks the permission.
    Forbidden,
    /// The service is unavailable.
    Unavailable,
    /// The call needs more than the whole capacity, so that a wait would not help.
    InsufficientCapacity,
}

impl RejectionReason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 8] = [
        Self::RateLimited,
        Self::CircuitOpen,
        Self::Overloaded,
        Self::DeadlineExceeded,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Unavailable,
        Self::InsufficientCapacity,
    ];

    /// Returns the reason in `snake_case`, as logs, metric labels and problem details show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::CircuitOpen => "circuit_open",
            Self::Overloaded => "overloaded",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "unavailable",
            Self::InsufficientCapacity => "insufficient_capacity",
        }
    }

    /// Returns the reason as lower-case text for people.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::RateLimited => "rate limited",
            Self::CircuitOpen => "circuit open",
            Self::Overloaded => "overloaded",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::Unauthenticated => "not authenticated",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "unavailable",
            Self::InsufficientCapacity => "more than the capacity",
        }
    }

    /// Returns the outcome of a call that was rejected for this reason.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::DeadlineExceeded => Outcome::TimedOut,
            Self::Unauthenticated | Self::Forbidden => Outcome::ClientError,
            _ => Outcome::Overloaded,
        }
    }
}

impl fmt::Display for RejectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// A rejection of a call: its reason, the layer that rejected the call, and the time after which a retry may succeed.
///
/// Over HTTP and gRPC it becomes a response, elsewhere an error of the service (see [`CarriesRejection`](crate::CarriesRejection)).
#[derive(Debug, Clone)]
pub struct Rejection {
    reason: RejectionReason,
    layer: Name,
    retry_after: Option<Duration>,
    headers: Option<Arc<[(&'static str, String)]>>,
}

impl Rejection {
    /// Makes a rejection by the layer with this name.
    #[must_use]
    pub fn new(reason: RejectionReason, layer: impl Into<Name>) -> Self {
        Self {
            reason,
            layer: layer.into(),
            retry_after: None,
            headers: None,
        }
    }

    /// Adds the time after which a retry may succeed, such as that in
    /// [`Retry-After`](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3).
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds a challenge for the header [`WWW-Authenticate`](https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1), which tells the
    /// caller how to authenticate.
    ///
    /// HTTP requires one in each response for [`RejectionReason::Unauthenticated`]; without one the response asks for `Bearer`.
    ///
    /// ```
    /// use towerkit_core::{RejectionReason, Rejection};
    ///
    /// let rejection = Rejection::new(RejectionReason::Unauthenticated, "auth").with_challenge(r#"Basic realm="shop""#);
    /// assert_eq!(rejection.headers().next(), Some(("www-authenticate", r#"Basic realm="shop""#)));
    /// ```
    #[must_use]
    pub fn with_challenge(self, challenge: impl Into<String>) -> Self {
        self.with_header("www-authenticate", challenge)
    }

    /// Adds a header to the response, if the protocol has headers.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let mut headers = self.headers.map_or_else(Vec::new, |old| old.to_vec());
        headers.push((name, value.into()));
        self.headers = Some(headers.into());
        self
    }

    /// Returns the reason of the rejection.
    #[must_use]
    pub const fn reason(&self) -> RejectionReason {
        self.reason
    }

    /// Returns the name of the layer that rejected the call.
    #[must_use]
    pub fn layer(&self) -> &Name {
        &self.layer
    }

    /// Returns the time after which a retry may succeed, if it is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the headers for the response.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.headers
            .iter()
            .flat_map(|headers| headers.iter().map(|(name, value)| (*name, value.as_str())))
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.layer, self.reason)?;
        match self.retry_after {
            Some(wait) => write!(f, ", retry after {wait:?}"),
            None => Ok(()),
        }
    }
}

impl Error for Rejection {}

/// The type of the rejections of a policy: [`Rejection`] for guards, [`Infallible`] for observers, which reject no call.
#[doc(hidden)]
pub trait RejectionType: Sized {
    /// The type of the rejections of this policy and another one together.
    type Or<B: RejectionType>: RejectionType;

    /// Returns a reference to the rejection.
    fn as_rejection(&self) -> &Rejection;

    /// Returns the rejection.
    fn into_rejection(self) -> Rejection;

    /// Converts a rejection of the first of two policies.
    fn into_first<B: RejectionType>(self) -> Self::Or<B>;

    /// Converts a rejection of the second of two policies.
    fn from_second<B: RejectionType>(second: B) -> Self::Or<B>;
}

impl RejectionType for Rejection {
    type Or<B: RejectionType> = Self;

    #[inline(always)]
    fn as_rejection(&self) -> &Rejection {
        self
    }

    #[inline(always)]
    fn into_rejection(self) -> Rejection {
        self
    }

    #[inline(always)]
    fn into_first<B: RejectionType>(self) -> Self {
        self
    }

    #[inline(always)]
    fn from_second<B: RejectionType>(second: B) -> Self {
        second.into_rejection()
    }
}

impl RejectionType for Infallible {
    type Or<B: RejectionType> = B;

    fn as_rejection(&self) -> &Rejection {
        match *self {}
    }

    fn into_rejection(self) -> Rejection {
        match self {}
    }

    fn into_first<B: RejectionType>(self) -> B {
        match self {}
    }

    #[inline(always)]
    fn from_second<B: RejectionType>(second: B) -> B {
        second
    }
}
