use std::fmt;

/// What a circuit breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Admits calls and judges their results; too many failures open it.
    Closed,
    /// Rejects calls until its time is over.
    Open,
    /// Admits a few calls as probes: their success closes it, a failure opens it again.
    HalfOpen,
    /// Rejects calls until it is released.
    ForcedOpen,
    /// Admits and counts calls, but does not open until it is released.
    ForcedClosed,
    /// Admits calls and counts nothing until it is released.
    Disabled,
}

impl State {
    /// Returns the state in `snake_case`, as events show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
            Self::Disabled => "disabled",
        }
    }

    /// Whether the state was forced, and so lasts until the breaker is released.
    #[must_use]
    pub const fn is_forced(self) -> bool {
        matches!(self, Self::ForcedOpen | Self::ForcedClosed | Self::Disabled)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
