use towerkit_core::{CallEnd, CountAs, Outcome};

use crate::open_when::RateKind;

/// The result of one call, as the windows of a breaker count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallResult {
    pub(crate) count_as: CountAs,
    /// True if the call ran longer than the slow-call threshold and this says something about the upstream.
    pub(crate) slow: bool,
    pub(crate) windows: Windows,
}

/// The windows in which a [`CallResult`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Windows {
    All,
    /// The windows for slow calls: the call is still in flight, so that its success or failure is not known.
    Slow,
    /// All but the windows for slow calls: the call has already been counted as slow while it was in flight.
    AllButSlow,
}

impl CallResult {
    /// A call that is still in flight and has run longer than the slow-call threshold.
    pub(crate) const SLOW_IN_FLIGHT: Self = Self {
        count_as: CountAs::Ignored,
        slow: true,
        windows: Windows::Slow,
    };

    /// Makes the result of a call with this end, `too_long` if it ran longer than the slow-call threshold.
    ///
    /// An ignored call is not slow, except if its caller cancelled it: slow calls often end like that.
    #[inline(always)]
    pub(crate) fn new(count_as: CountAs, end: &CallEnd, too_long: bool) -> Self {
        let cancelled = end.outcome() == Outcome::Cancelled;
        Self {
            count_as,
            slow: too_long && (count_as != CountAs::Ignored || cancelled),
            windows: Windows::All,
        }
    }

    /// Returns the result for a call that was counted as [`SLOW_IN_FLIGHT`](Self::SLOW_IN_FLIGHT) before it ended.
    pub(crate) fn but_slow(self) -> Self {
        Self {
            windows: Windows::AllButSlow,
            ..self
        }
    }

    /// Returns true if the result counts in any window.
    #[inline(always)]
    pub(crate) fn counts(self) -> bool {
        let counts_as_slow = self.slow && self.windows != Windows::AllButSlow;
        counts_as_slow || self.count_as != CountAs::Ignored
    }

    #[inline(always)]
    pub(crate) fn failed(self) -> bool {
        self.count_as == CountAs::Failure
    }

    /// Returns true if the window for `kind` counts this result as failed or as slow.
    #[inline(always)]
    pub(crate) fn is_marked(self, kind: RateKind) -> bool {
        match kind {
            RateKind::FailuresByCount | RateKind::FailuresByTime => self.failed(),
            RateKind::SlowByCount | RateKind::SlowByTime => self.slow,
        }
    }
}
