use towerkit_core::{CallEnd, Outcome};

use crate::{CountAs, open_when::Kind};

/// What a breaker learns from the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) verdict: CountAs,
    /// Whether the call ran longer than it may, and that says something about the callee.
    pub(crate) slow: bool,
    pub(crate) counts: Counts,
}

/// In which windows a result counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    Everywhere,
    /// A call that hangs: whether it succeeds or fails is still to come.
    AsSlow,
    /// A call that hung, and has ended now.
    AsEnded,
}

impl Mark {
    /// Judges a call that ended so, and ran longer than the slow threshold or not.
    ///
    /// What is ignored was not slow either, except a call that its caller gave up: that is how slow calls often end.
    #[inline(always)]
    pub(crate) fn new(verdict: CountAs, end: &CallEnd, too_long: bool) -> Self {
        let given_up = end.outcome() == Outcome::Cancelled;
        Self {
            verdict,
            slow: too_long && (verdict != CountAs::Ignored || given_up),
            counts: Counts::Everywhere,
        }
    }

    /// The same for a call that was counted as [one that hangs](Self::HANGS).
    pub(crate) fn of_hung(self) -> Self {
        Self {
            counts: Counts::AsEnded,
            ..self
        }
    }

    /// A call that is still in flight, and has run longer than it may.
    pub(crate) const HANGS: Self = Self {
        verdict: CountAs::Ignored,
        slow: true,
        counts: Counts::AsSlow,
    };

    /// Whether the call counts as a result.
    #[inline(always)]
    pub(crate) fn is_result(self) -> bool {
        let is_slow = self.slow && self.counts != Counts::AsEnded;
        is_slow || self.verdict != CountAs::Ignored
    }

    #[inline(always)]
    pub(crate) fn failed(self) -> bool {
        self.verdict == CountAs::Failure
    }

    /// Whether this is one of the results of which `kind` limits the share.
    #[inline(always)]
    pub(crate) fn is(self, kind: Kind) -> bool {
        match kind {
            Kind::FailuresOfLast | Kind::FailuresInTime => self.failed(),
            Kind::SlowOfLast | Kind::SlowInTime => self.slow,
        }
    }
}
