use std::time::Duration;

use crate::Clock;

/// The point in time at which a caller stops waiting for the response.
///
/// A request carries it in its extensions, and over the wire as the [remaining](Self::remaining) time. It contains the [`Clock`] on
/// which it was set.
///
/// ```
/// use std::time::Duration;
/// use towerkit_core::{Clock, Deadline};
///
/// let (clock, clock_control) = Clock::manual();
/// let deadline = Deadline::after(&clock, Duration::from_secs(2));
/// clock_control.advance(Duration::from_millis(500));
/// assert_eq!(deadline.remaining(), Duration::from_millis(1500));
/// clock_control.advance(Duration::from_secs(5));
/// assert!(deadline.has_passed());
/// ```
#[derive(Debug, Clone)]
pub struct Deadline {
    clock: Clock,
    at: u64,
}

impl Deadline {
    /// Makes a deadline that passes `left` from now.
    #[must_use]
    pub fn after(clock: &Clock, left: Duration) -> Self {
        let left = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        Self {
            clock: clock.clone(),
            at: clock.now().saturating_add(left),
        }
    }

    /// Returns the remaining time; zero once the deadline has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(self.at.saturating_sub(self.clock.now()))
    }

    /// Returns true if the deadline has passed.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// Returns the earlier of this deadline and one `left` from now, so that an upstream never gets more time than its caller has.
    #[must_use]
    pub fn at_most(self, left: Duration) -> Self {
        let other = Self::after(&self.clock, left);
        if other.at < self.at { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_allowance_brings_a_deadline_forward_and_a_longer_one_does_not() {
        let (clock, _hand) = Clock::manual();
        let deadline = Deadline::after(&clock, Duration::from_secs(2));
        let sooner = deadline.clone().at_most(Duration::from_secs(1));
        assert_eq!(sooner.remaining(), Duration::from_secs(1));
        assert_eq!(
            deadline.at_most(Duration::MAX).remaining(),
            Duration::from_secs(2)
        );
    }
}
