use towerkit_core::{CallEnd, Outcome, RejectionReason};

use crate::{
    adaptive::{Lesson, Meter},
    guard::Permit,
    limit::Shared,
    sync::Mutex,
};

impl Shared {
    /// Learns from the end of one call, unless another thread is just learning from another: no call waits for that.
    pub(crate) fn learn(
        &self,
        meter: &Mutex<Meter>,
        in_flight: u32,
        permit: Permit,
        end: &CallEnd,
    ) {
        let Some(lesson) = lesson(end) else { return };
        let now = end.now(&self.settings.clock);
        let took = now.saturating_sub(permit.started);
        let Ok(mut meter) = meter.try_lock() else {
            return;
        };
        let Some(limit) = meter.record(now, took, in_flight, lesson) else {
            return;
        };
        // Under the lock, so that of two changes the later one stays.
        let waiting = self.room.set_limit(limit);
        drop(meter);
        if waiting {
            self.room.hand_over(now);
        }
        self.report.limit(limit);
    }
}

/// Returns what a limit can learn from a call that ended so.
///
/// Failures and errors of the caller say nothing: they are often quicker than any success. Nor does a rejection that has nothing to do
/// with load, such as one by a rate limit further in.
fn lesson(end: &CallEnd) -> Option<Lesson> {
    match end.rejection_reason() {
        Some(RejectionReason::Overloaded | RejectionReason::DeadlineExceeded) => {
            return Some(Lesson::Dropped);
        }
        Some(_) => return None,
        None => {}
    }
    match end.outcome() {
        Outcome::Success => Some(Lesson::Took),
        Outcome::Overloaded | Outcome::TimedOut => Some(Lesson::Dropped),
        Outcome::Cancelled => Some(Lesson::GivenUp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_load_teaches() {
        let ended = |outcome| lesson(&CallEnd::new(outcome));
        assert_eq!(ended(Outcome::Success), Some(Lesson::Took));
        assert_eq!(ended(Outcome::Overloaded), Some(Lesson::Dropped));
        assert_eq!(ended(Outcome::TimedOut), Some(Lesson::Dropped));
        assert_eq!(ended(Outcome::Cancelled), Some(Lesson::GivenUp));
        assert_eq!(ended(Outcome::ClientError), None);
        assert_eq!(ended(Outcome::Failure), None);
    }

    #[test]
    fn a_rejection_further_in_teaches_if_it_was_for_load() {
        let rejected = |reason| lesson(&CallEnd::rejected_for(reason));
        assert_eq!(rejected(RejectionReason::Overloaded), Some(Lesson::Dropped));
        assert_eq!(
            rejected(RejectionReason::DeadlineExceeded),
            Some(Lesson::Dropped)
        );
        assert_eq!(rejected(RejectionReason::RateLimited), None);
        assert_eq!(rejected(RejectionReason::CircuitOpen), None);
        assert_eq!(rejected(RejectionReason::Unauthenticated), None);
    }
}
