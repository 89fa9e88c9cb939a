use std::{fmt, sync::Arc};

use towerkit_core::{
    Call, CallEnd, Clock, Guard, Name, Outcome, Policy, Rejection, RejectionReason,
};

use super::sliding_window::{Counts, SlidingWindow};
use crate::sync::{AtomicU64, Ordering};

/// The [`Guard`] of an [`AdaptiveThrottleLayer`](crate::AdaptiveThrottleLayer), shared by its services.
#[derive(Clone)]
pub struct AdaptiveThrottlePolicy(Arc<ThrottleState>);

struct ThrottleState {
    window: SlidingWindow,
    config: Config,
    /// The time at which the last call was sent while calls were rejected; 0 before.
    last_sent: AtomicU64,
    rejected: AtomicU64,
}

/// The options of an [`AdaptiveThrottleLayer`](crate::AdaptiveThrottleLayer).
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) multiplier: f64,
    pub(crate) window: u64,
    pub(crate) probe_interval: u64,
    pub(crate) name: Name,
    pub(crate) clock: Clock,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            multiplier: 2.0,
            window: 120_000_000_000,
            probe_interval: 1_000_000_000,
            name: Name::new("throttle"),
            clock: Clock::default(),
        }
    }
}

impl AdaptiveThrottlePolicy {
    pub(crate) fn new(config: Config) -> Self {
        Self(Arc::new(ThrottleState {
            window: SlidingWindow::new(config.window),
            config,
            last_sent: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        }))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn counts(&self) -> Counts {
        self.0.window.counts(self.0.config.clock.now())
    }

    pub(crate) fn rejected(&self) -> u64 {
        self.0.rejected.load(Ordering::Relaxed)
    }
}

impl ThrottleState {
    /// Counts a call, and returns true if it is sent.
    fn try_send(&self, now: u64) -> bool {
        let counts = self.window.counts(now);
        let probability = counts.rejection_probability(self.config.multiplier);
        self.window.record_call();
        let is_sent = probability == 0.0 || self.try_probe(now) || fastrand::f64() >= probability;
        if is_sent && probability > 0.0 {
            self.last_sent.fetch_max(now.max(1), Ordering::Relaxed);
        }
        is_sent
    }

    /// Returns true for the first call after a probe interval in which no call was sent.
    fn try_probe(&self, now: u64) -> bool {
        let (now, last) = (now.max(1), self.last_sent.load(Ordering::Relaxed));
        now.saturating_sub(last) >= self.config.probe_interval
            && (self.last_sent)
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    #[cold]
    #[inline(never)]
    fn rejection(&self) -> Rejection {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        Rejection::new(RejectionReason::Overloaded, self.config.name.clone())
    }
}

/// The state of a call that was sent.
#[derive(Debug, PartialEq, Eq)]
pub struct SentCall {
    is_accepted: bool,
}

impl Policy for AdaptiveThrottlePolicy {
    type CallState = SentCall;

    /// Counts the call as accepted at the head of its response, so that long streams do not look like rejections.
    #[inline]
    fn on_response_head(&self, sent: &mut SentCall, so_far: &CallEnd) {
        if is_accepted(so_far) {
            sent.is_accepted = true;
            let now = so_far.now(&self.0.config.clock);
            self.0.window.record_accepted(now);
        }
    }

    #[inline]
    fn finish(&self, sent: SentCall, end: &CallEnd) {
        if !sent.is_accepted && is_accepted(end) {
            self.0.window.record_accepted(end.now(&self.0.config.clock));
        }
    }
}

impl<Req> Guard<Req> for AdaptiveThrottlePolicy {
    #[inline]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<SentCall, Rejection> {
        if self.0.try_send(call.now(&self.0.config.clock)) {
            Ok(SentCall { is_accepted: false })
        } else {
            Err(self.0.rejection())
        }
    }
}

/// Returns true if the upstream processed the call: it responded, and did not report overload.
///
/// A failure without a [`Status`](towerkit_core::Status) had no response. A cancelled call was accepted if its response had begun.
fn is_accepted(end: &CallEnd) -> bool {
    if end.has_panicked() || end.rejection_reason().is_some() {
        return false;
    }
    match end.outcome() {
        Outcome::Success | Outcome::ClientError => true,
        Outcome::Failure => end.status().is_some(),
        Outcome::Cancelled => end.head_outcome() == Some(Outcome::Success),
        _ => false,
    }
}

impl fmt::Debug for AdaptiveThrottlePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { calls, accepted } = self.counts();
        f.debug_struct("AdaptiveThrottle")
            .field("name", &self.0.config.name)
            .field("calls", &calls)
            .field("accepted", &accepted)
            .field("rejected", &self.rejected())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use towerkit_core::Status;

    use super::*;

    #[test]
    fn a_response_counts_as_accepted_unless_it_pushes_back() {
        let ended = |outcome| is_accepted(&CallEnd::new(outcome));
        assert!(ended(Outcome::Success) && ended(Outcome::ClientError));
        assert!(!ended(Outcome::Overloaded) && !ended(Outcome::TimedOut));
        assert!(!ended(Outcome::Failure), "no response");
        let internal = CallEnd::new(Outcome::Failure).with_status(Some(Status::Http(500)));
        assert!(is_accepted(&internal), "a response, although an error");
        assert!(!is_accepted(&CallEnd::rejected_for(
            RejectionReason::Unauthenticated
        )));
        assert!(!ended(Outcome::Cancelled));
        let streamed = CallEnd::cancelled().with_head_outcome(Some(Outcome::Success));
        assert!(is_accepted(&streamed));
    }
}
