use std::fmt;

/// The outcome of a call, in terms that all layers share.
///
/// The table of HTTP statuses and gRPC codes is in
/// `docs/contract.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The upstream did its work.
    Success,
    /// The request was wrong, for example one for an unknown resource.
    ClientError,
    /// The upstream failed, or its response broke off.
    Failure,
    /// The upstream, or a guard in front of it, sheds load.
    Overloaded,
    /// The deadline passed.
    TimedOut,
    /// The caller cancelled the call.
    Cancelled,
}

impl Outcome {
    /// Every outcome, in the order of declaration.
    pub const ALL: [Self; 6] = [
        Self::Success,
        Self::ClientError,
        Self::Failure,
        Self::Overloaded,
        Self::TimedOut,
        Self::Cancelled,
    ];

    /// Returns the outcome in `snake_case`, as logs and metric labels show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ClientError => "client_error",
            Self::Failure => "failure",
            Self::Overloaded => "overloaded",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The status of a finished call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// An HTTP status, 100 to 999.
    Http(u16),
    /// A gRPC code, 0 to 16.
    Grpc(u16),
}

impl Status {
    /// Returns the number.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Http(code) | Self::Grpc(code) => code,
        }
    }

    /// Returns true if the status blames the caller: HTTP 4xx, or gRPC `RESOURCE_EXHAUSTED`.
    ///
    /// A circuit breaker ignores such calls: an upstream that limits the rate of its callers is healthy.
    #[must_use]
    pub const fn blames_caller(self) -> bool {
        matches!(self, Self::Http(400..=499) | Self::Grpc(8))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code().fmt(f)
    }
}
