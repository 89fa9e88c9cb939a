/// How a server ended its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All calls ended by themselves.
    Complete,
    /// The time to drain was over: these calls and connections were left, and were dropped.
    CutOff {
        /// The calls without a whole response, which layers record as cancelled.
        calls: usize,
        /// The connections, some of which may have had no call: upgraded ones, and clients that did not close.
        connections: usize,
    },
}

impl Drained {
    /// Returns true if all calls ended by themselves.
    #[must_use]
    pub fn is_complete(self) -> bool {
        self == Self::Complete
    }
}
