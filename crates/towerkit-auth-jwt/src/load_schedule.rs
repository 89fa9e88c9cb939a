use std::time::Duration;

/// The times at which keys or a token are loaded: a state machine without IO. Times are nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct LoadSchedule {
    unknown_key_interval: u64,
    is_loading: bool,
    /// When the next load begins, after a good one or a failed one.
    due: u64,
    /// When the next unknown key may cause a load.
    unknown_key_due: u64,
    failures: u32,
}

/// The reason for a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It was not loaded yet, or it is old.
    Due,
    /// A token names a key that is not there.
    UnknownKey,
    /// The program wants it now.
    Requested,
}

/// The answer to a caller that wants a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The caller begins it.
    Load,
    /// It has begun.
    Join,
    /// It is too early.
    Refuse,
}

/// The delay after the first failed attempt; it doubles up to [`MAX_DELAY`].
const FIRST_DELAY: u64 = 1_000_000_000;
const MAX_DELAY: u64 = 60 * FIRST_DELAY;

impl LoadSchedule {
    pub(crate) fn new(unknown_key_interval: u64) -> Self {
        Self {
            unknown_key_interval,
            is_loading: false,
            due: 0,
            unknown_key_due: 0,
            failures: 0,
        }
    }

    pub(crate) fn begin(&mut self, reason: Reason, now: u64) -> Decision {
        if self.is_loading {
            return Decision::Join;
        }
        let is_time = match reason {
            Reason::Due => now >= self.due,
            Reason::UnknownKey => now >= self.unknown_key_due,
            Reason::Requested => true,
        };
        if !is_time {
            return Decision::Refuse;
        }
        if reason == Reason::UnknownKey {
            self.unknown_key_due = now.saturating_add(self.unknown_key_interval);
        }
        self.is_loading = true;
        Decision::Load
    }

    /// Ends a load: with the time for which the result is good, or with `None` if it failed.
    pub(crate) fn end(&mut self, lifetime: Option<u64>, now: u64) {
        self.is_loading = false;
        if let Some(lifetime) = lifetime {
            self.failures = 0;
            self.due = now.saturating_add(lifetime);
            return;
        }
        let delay = FIRST_DELAY << self.failures.min(6);
        self.failures += u32::from(self.failures < 6);
        // A failed load for an unknown key does not bring the next one forward.
        self.due = self.due.max(now.saturating_add(delay.min(MAX_DELAY)));
    }

    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// Returns the time until the next attempt.
    pub(crate) fn retry_after(&self, now: u64) -> Duration {
        Duration::from_nanos(self.due.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn schedule() -> LoadSchedule {
        LoadSchedule::new(300 * SECOND)
    }

    const GOOD: Option<u64> = Some(600 * SECOND);

    #[test]
    fn one_load_at_a_time() {
        let mut schedule = schedule();
        assert_eq!(schedule.begin(Reason::Due, 0), Decision::Load);
        for reason in [Reason::Due, Reason::UnknownKey, Reason::Requested] {
            assert_eq!(schedule.begin(reason, 0), Decision::Join);
        }
        schedule.end(GOOD, SECOND);
        assert_eq!(schedule.begin(Reason::Due, 2 * SECOND), Decision::Refuse);
        assert_eq!(schedule.begin(Reason::Due, 601 * SECOND), Decision::Load);
    }

    /// JW-04
    #[test]
    fn unknown_keys_cause_one_load_in_five_minutes_also_if_it_fails() {
        for result in [GOOD, None] {
            let mut schedule = schedule();
            schedule.begin(Reason::Due, 0);
            schedule.end(GOOD, 0);
            let mut loads = 0;
            // An hour, with one unknown key each 100 ms, and as many known ones.
            for tick in 0..36_000 {
                let now = tick * SECOND / 10;
                if schedule.begin(Reason::UnknownKey, now) == Decision::Load {
                    loads += 1;
                    schedule.end(result, now);
                }
            }
            assert_eq!(loads, 12);
        }
    }

    #[test]
    fn failures_are_repeated_with_growing_delays() {
        let mut schedule = schedule();
        let mut attempts = Vec::new();
        for now in 0..300 {
            if schedule.begin(Reason::Due, now * SECOND) == Decision::Load {
                attempts.push(now);
                schedule.end(None, now * SECOND);
            }
        }
        assert_eq!(attempts, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
        assert_eq!(schedule.retry_after(303 * SECOND), Duration::ZERO);
    }
}
