use std::{convert::Infallible, error::Error, fmt, sync::Arc, time::Duration};

use crate::{Name, Outcome};

/// Why a call was rejected.
///
/// Each reason has one HTTP status and one gRPC code; the table stands in `docs/contract.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionReason {
    /// The caller is over its rate.
    RateLimited,
    /// A circuit breaker is open.
    CircuitOpen,
    /// There is more work than room.
    Overloaded,
    /// Time ran out before an answer was there.
    DeadlineExceeded,
    /// The caller did not say who it is, or was not believed.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// There is nobody to answer.
    Unavailable,
    /// The call asks for more than there will ever be, so that waiting does not help.
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

    /// Returns the reason in plain words, lower case.
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

/// A rejected call: who rejected, why, and when it may be worth another try.
///
/// Over HTTP and gRPC a rejection becomes a response; elsewhere it travels in the service's error (see [`CarriesRejection`](crate::Rejectable)).
#[derive(Debug, Clone)]
pub struct Rejection {
    reason: RejectionReason,
    layer: Name,
    retry_after: Option<Duration>,
    fields: Option<Arc<[(&'static str, String)]>>,
}

impl Rejection {
    /// Rejects on behalf of the layer, or the instance of a layer, named `layer`.
    #[must_use]
    pub fn new(reason: RejectionReason, layer: impl Into<Name>) -> Self {
        Self {
            reason,
            layer: layer.into(),
            retry_after: None,
            fields: None,
        }
    }

    /// Says how long the caller does well to wait; not said by default.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Tells the caller how to authenticate: a challenge of the field `WWW-Authenticate` (RFC 9110, section 11.6.1).
    ///
    /// HTTP demands one of every answer for [`RejectionReason::Unauthenticated`]; without one the answer asks for `Bearer`.
    ///
    /// ```
    /// use towerkit_core::{RejectionReason, Rejection};
    ///
    /// let rejection = Rejection::new(RejectionReason::Unauthenticated, "auth").challenge(r#"Basic realm="shop""#);
    /// assert_eq!(rejection.fields().next(), Some(("www-authenticate", r#"Basic realm="shop""#)));
    /// ```
    #[must_use]
    pub fn challenge(self, challenge: impl Into<String>) -> Self {
        self.field("www-authenticate", challenge)
    }

    /// Adds a field for the answer, where the protocol has fields.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let mut fields = self.fields.map_or_else(Vec::new, |old| old.to_vec());
        fields.push((name, value.into()));
        self.fields = Some(fields.into());
        self
    }

    /// Returns why the call was rejected.
    #[must_use]
    pub const fn reason(&self) -> RejectionReason {
        self.reason
    }

    /// Returns the name of the layer that rejected.
    #[must_use]
    pub fn layer(&self) -> &Name {
        &self.layer
    }

    /// Returns how long the caller does well to wait, where that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the fields for the answer.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.fields
            .iter()
            .flat_map(|fields| fields.iter().map(|(name, value)| (*name, value.as_str())))
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

/// What a policy stack can reject with: a [`Rejection`], or nothing at all where it holds observers only.
pub trait MaybeRejection {
    /// Returns the rejection.
    fn rejection(&self) -> &Rejection;
}

impl MaybeRejection for Rejection {
    #[inline(always)]
    fn rejection(&self) -> &Rejection {
        self
    }
}

impl MaybeRejection for Infallible {
    fn rejection(&self) -> &Rejection {
        match *self {}
    }
}

/// What two policies in a row can reject with: nothing if neither can, otherwise a [`Rejection`].
pub trait JoinRejection<B>: MaybeRejection {
    /// The rejection of the pair.
    type Out: MaybeRejection;
    /// Turns the first policy's rejection into the pair's.
    fn first(self) -> Self::Out;
    /// Turns the second policy's rejection into the pair's.
    fn second(other: B) -> Self::Out;
}

impl JoinRejection<Infallible> for Infallible {
    type Out = Infallible;
    fn first(self) -> Infallible {
        self
    }
    fn second(other: Infallible) -> Infallible {
        other
    }
}

impl JoinRejection<Rejection> for Infallible {
    type Out = Rejection;
    fn first(self) -> Rejection {
        match self {}
    }
    #[inline(always)]
    fn second(other: Rejection) -> Rejection {
        other
    }
}

impl JoinRejection<Infallible> for Rejection {
    type Out = Rejection;
    #[inline(always)]
    fn first(self) -> Rejection {
        self
    }
    fn second(other: Infallible) -> Rejection {
        match other {}
    }
}

impl JoinRejection<Rejection> for Rejection {
    type Out = Rejection;
    #[inline(always)]
    fn first(self) -> Rejection {
        self
    }
    #[inline(always)]
    fn second(other: Rejection) -> Rejection {
        other
    }
}
