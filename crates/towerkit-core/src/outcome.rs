use std::fmt;

/// How a call ended, in the words that every layer shares.
///
/// Which HTTP status and which gRPC code gives which outcome is one table, in `docs/contract.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The callee did what was asked.
    Success,
    /// The caller asked for something that cannot be had.
    ClientError,
    /// The callee failed, or its answer broke off.
    Failure,
    /// The callee, or a guard in front of it, pushed back.
    Overloaded,
    /// Time ran out.
    TimedOut,
    /// The caller went away before the end.
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

/// The code that a protocol gave a finished call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// An HTTP status, 100 to 999.
    Http(u16),
    /// A gRPC code, 0 to 16.
    Grpc(u16),
}

impl Status {
    /// Returns the number alone.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Http(code) | Self::Grpc(code) => code,
        }
    }

    /// Whether the code lays the trouble at the caller's door: HTTP 4xx, or gRPC `RESOURCE_EXHAUSTED`.
    ///
    /// A circuit breaker asks, because a callee that is well enough to count its caller's requests need not be cut off.
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
