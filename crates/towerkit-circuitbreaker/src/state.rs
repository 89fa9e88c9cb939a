use std::fmt;

/// The state of a circuit breaker.
///
/// [`Closed`](Self::Closed), [`Open`](Self::Open) and [`HalfOpen`](Self::HalfOpen) are the states of the pattern as Michael Nygard
/// describes it in *Release It!* (2007). The other three are set through a [handle](crate::CircuitBreakerHandle) and last until
/// [`release`](crate::CircuitBreakerHandle::release).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Admits all calls and counts their results; [too many failures](crate::OpenWhen) open the breaker.
    Closed,
    /// Rejects all calls until the [open duration](crate::OpenDuration) is over.
    Open,
    /// Admits a few calls as probes: their success closes the breaker, one failure opens it again.
    HalfOpen,
    /// Rejects all calls until the breaker is released.
    ForcedOpen,
    /// Admits and counts all calls, but does not open until the breaker is released.
    ForcedClosed,
    /// Admits all calls without counting them until the breaker is released.
    Disabled,
}

impl State {
    /// Returns the state in `snake_case`, as in [events](towerkit_core::Event::CircuitChanged).
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

    /// Returns true if the state was set through a handle.
    ///
    /// Such a state lasts until the breaker is released.
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

/// Says if a breaker decides by itself or was overridden through its handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// The breaker opens and closes by the results of the calls. The default.
    Automatic,
    /// The breaker rejects every call.
    ForcedOpen,
    /// The breaker admits every call, counts its result, and does not open.
    ForcedClosed,
    /// The breaker admits every call and counts no results.
    Disabled,
    /// The breaker opens and closes by the results of the calls, but admits every call all the same.
    ///
    /// Calls that it would have rejected are counted in [`CircuitBreakerSnapshot::let_through`]; their results do not count. resilience4j calls this mode `METRICS_ONLY`.
    Observing,
}

/// The state of a circuit breaker and the counts behind it at one moment.
///
/// Returned by [`CircuitBreakerHandle::snapshot`](crate::CircuitBreakerHandle::snapshot) and
/// [`KeyedCircuitBreakerHandle::snapshot`](crate::KeyedCircuitBreakerHandle::snapshot).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitBreakerSnapshot {
    /// The state.
    pub state: State,
    /// The mode.
    pub mode: Mode,
    /// The number of results in the window: the window over a number of results if there is one, otherwise the window over a time.
    /// Equal to `failures` if only consecutive failures are counted.
    pub results: u64,
    /// The failures among these results; the number of consecutive failures if the window counts slow calls only.
    pub failures: u64,
    /// The slow calls in the window for slow calls; 0 if there is no such window.
    pub slow: u64,
    /// The probes in flight of a [half-open](State::HalfOpen) breaker.
    pub probes_in_flight: u16,
    /// The probes that have succeeded since the breaker became half-open.
    pub probes_succeeded: u16,
    /// The calls admitted that the breaker would have rejected in another mode than [`Mode::Observing`].
    pub let_through: u64,
}
