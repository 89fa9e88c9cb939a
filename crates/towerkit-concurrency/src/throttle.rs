use std::{fmt, sync::Arc};

use towerkit_core::{
    Call, CallEnd, Clock, Guard, Outcome, Policy, Rejection, RejectionReason, StateHandle,
};

use crate::{
    sync::{AtomicU64, Ordering},
    tally::{Counts, Tally},
};

/// A handle on the throttle of an [`AdaptiveThrottleLayer`](crate::AdaptiveThrottleLayer) and its services.
///
/// Comes from [`AdaptiveThrottleLayer::handle`](crate::AdaptiveThrottleLayer::handle).
#[derive(Clone)]
pub struct AdaptiveThrottleHandle(pub(crate) StateHandle<AdaptiveThrottlePolicy>);

/// The guard behind an [`AdaptiveThrottleLayer`](crate::AdaptiveThrottleLayer), shared by all of its services.
#[derive(Clone)]
pub struct AdaptiveThrottlePolicy(Arc<Throttle>);

struct Throttle {
    tally: Tally,
    settings: Settings,
    /// When the last call was let through; 0 if none was.
    sent: AtomicU64,
    rejected: AtomicU64,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) multiple: f64,
    pub(crate) window: u64,
    pub(crate) probe_every: u64,
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            multiple: 2.0,
            window: 120_000_000_000,
            probe_every: 1_000_000_000,
            name: "throttle",
            clock: Clock::default(),
        }
    }
}

impl AdaptiveThrottlePolicy {
    pub(crate) fn new(settings: Settings) -> Self {
        Self(Arc::new(Throttle {
            tally: Tally::new(settings.window),
            settings,
            sent: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        }))
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn counts(&self) -> Counts {
        self.0.tally.counts(self.0.settings.clock.now())
    }
}

impl AdaptiveThrottleHandle {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.get().settings().name
    }

    /// Returns the calls in the window, whether they were sent or rejected here.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.0.get().counts().calls
    }

    /// Returns the calls in the window that the callee accepted.
    #[must_use]
    pub fn accepted(&self) -> u32 {
        self.0.get().counts().accepted
    }

    /// Returns the share of calls that is rejected at this moment.
    #[must_use]
    pub fn rejection_rate(&self) -> f64 {
        let throttle = self.0.get();
        throttle.counts().rejections(throttle.settings().multiple)
    }

    /// Returns how many calls have been rejected so far.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.0.get().0.rejected.load(Ordering::Relaxed)
    }
}

impl Throttle {
    /// Decides on a call, and counts it either way.
    fn admits(&self, now: u64) -> bool {
        let share = self.tally.counts(now).rejections(self.settings.multiple);
        self.tally.call();
        let admits = share == 0.0 || self.is_due(now) || fastrand::f64() >= share;
        if admits && share > 0.0 {
            self.sent.fetch_max(now.max(1), Ordering::Relaxed);
        }
        admits
    }

    /// Whether no call was let through for so long that one is, whatever the share: the first to ask.
    fn is_due(&self, now: u64) -> bool {
        let (now, sent) = (now.max(1), self.sent.load(Ordering::Relaxed));
        now.saturating_sub(sent) >= self.settings.probe_every
            && (self.sent)
                .compare_exchange(sent, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    #[cold]
    #[inline(never)]
    fn rejection(&self) -> Rejection {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        Rejection::new(RejectionReason::Overloaded, self.settings.name)
    }
}

/// A call that was sent.
#[derive(Debug, PartialEq, Eq)]
pub struct SentCall {
    is_accepted: bool,
}

impl Policy for AdaptiveThrottlePolicy {
    type CallState = SentCall;

    /// An answer that has begun is an acceptance, however long it goes on.
    #[inline]
    fn on_response_head(&self, sent: &mut SentCall, so_far: &CallEnd) {
        if is_accepted(so_far) {
            sent.is_accepted = true;
            self.0.tally.accept(so_far.now(&self.0.settings.clock));
        }
    }

    #[inline]
    fn finish(&self, sent: SentCall, end: &CallEnd) {
        if !sent.is_accepted && is_accepted(end) {
            self.0.tally.accept(end.now(&self.0.settings.clock));
        }
    }
}

impl<Req> Guard<Req> for AdaptiveThrottlePolicy {
    #[inline]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<SentCall, Rejection> {
        if self.0.admits(call.now(&self.0.settings.clock)) {
            Ok(SentCall { is_accepted: false })
        } else {
            Err(self.0.rejection())
        }
    }
}

/// Whether the callee took the call on: it answered, and not that it has enough.
///
/// A failure without a code is one without an answer. A call that was cancelled was taken on if the head of its response was there.
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

impl fmt::Debug for AdaptiveThrottleHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for AdaptiveThrottlePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { calls, accepted } = self.counts();
        f.debug_struct("AdaptiveThrottleHandle")
            .field("name", &self.0.settings.name)
            .field("calls", &calls)
            .field("accepted", &accepted)
            .field("rejected", &self.0.rejected.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use towerkit_core::Status;

    use super::*;

    #[test]
    fn an_answer_is_an_acceptance_unless_it_pushes_back() {
        let ended = |outcome| is_accepted(&CallEnd::new(outcome));
        assert!(ended(Outcome::Success) && ended(Outcome::ClientError));
        assert!(!ended(Outcome::Overloaded) && !ended(Outcome::TimedOut));
        assert!(!ended(Outcome::Failure), "no answer at all");
        let internal = CallEnd::new(Outcome::Failure).with_status(Some(Status::Http(500)));
        assert!(is_accepted(&internal), "an answer, if a bad one");
        assert!(!is_accepted(&CallEnd::rejected_for(
            RejectionReason::Unauthenticated
        )));
        assert!(!ended(Outcome::Cancelled));
        let streamed = CallEnd::cancelled().with_head_outcome(Some(Outcome::Success));
        assert!(is_accepted(&streamed));
    }
}
