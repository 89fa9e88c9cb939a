/// Who decides about the calls: the breaker, or whoever holds a handle on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// The breaker opens and closes, and rejects calls, by their results.
    Automatic,
    /// Every call is rejected.
    ForcedOpen,
    /// Every call is admitted, and its result is counted, but the breaker does not open.
    ForcedClosed,
    /// Every call is admitted, and nothing is counted.
    Disabled,
    /// The breaker opens and closes by the results, and every call is admitted all the same.
    ///
    /// What would have been rejected is counted in [`CircuitBreakerSnapshot::let_through`](crate::Snapshot::let_through), and its result counts
    /// for nothing.
    Observing,
}
