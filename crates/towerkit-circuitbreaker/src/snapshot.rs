use crate::{Mode, State};

/// How a breaker stands, see [`CircuitBreakerHandle::snapshot`](crate::CircuitBreakerHandle::snapshot).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitBreakerSnapshot {
    /// The state.
    pub state: State,
    /// The mode.
    pub mode: Mode,
    /// The results that are counted while the breaker is closed: in the window of results if it has one, or else in that of time.
    /// Where only failures in a row are counted, as many as `failures`.
    pub results: u64,
    /// The failures among them; where rates of failures are not counted in that window, the failures in a row.
    pub failures: u64,
    /// The slow calls in the window of that kind; 0 where there is none for slow calls.
    pub slow: u64,
    /// The probes of a half-open breaker that have not ended.
    pub probes_in_flight: u16,
    /// The probes of a half-open breaker that succeeded.
    pub probes_succeeded: u16,
    /// The calls that were admitted and would have been rejected, had the breaker not been [`Mode::Observing`].
    pub let_through: u64,
}
