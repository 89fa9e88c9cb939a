use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use crate::{Clock, clock::SharedClock};

/// The point in time at which a caller stops waiting for the response.
///
/// A request carries it in its extensions, and over the wire as the [remaining](Self::remaining) time. It contains the [`Clock`] on
/// which it was set.
///
/// While a layer such as `DeadlineLayer` polls a call, its deadline is the [current](Self::current) one of the thread. A client that the
/// call uses sends it on, through business code that knows of no deadline.
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

    /// Returns the deadline of the call that this thread is polling.
    ///
    /// ```
    /// use std::time::Duration;
    /// use towerkit_core::{Clock, Deadline};
    ///
    /// let deadline = Deadline::after(&Clock::monotonic(), Duration::from_secs(1));
    /// Deadline::enter(Some(&deadline), || assert_eq!(Deadline::current(), Some(deadline.clone())));
    /// assert_eq!(Deadline::current(), None);
    /// ```
    #[must_use]
    pub fn current() -> Option<Self> {
        let (clock, at) = CURRENT.get();
        let clock = match clock {
            CurrentClock::None => return None,
            CurrentClock::Shared(kind) => kind.clock(),
            // It cannot be read while the thread ends.
            CurrentClock::Own => OWN_CLOCK.try_with(|own| own.borrow().clone()).ok()??,
        };
        Some(Self { clock, at })
    }

    /// Runs a function with this deadline, or without one, as the current one. Restores the previous one, also after a panic.
    #[inline(always)]
    pub fn enter<R>(deadline: Option<&Self>, run: impl FnOnce() -> R) -> R {
        let Some(deadline) = deadline else {
            return enter_current((CurrentClock::None, 0), run);
        };
        match deadline.clock.shared_kind() {
            Some(kind) => enter_current((CurrentClock::Shared(kind), deadline.at), run),
            None => enter_own_clock(deadline, run),
        }
    }
}

/// Parses the value of [`grpc-timeout`]: one to eight digits and a unit. Returns `None` for malformed text.
///
/// [`grpc-timeout`]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
#[doc(hidden)]
#[must_use]
pub fn parse_grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // `parse` would accept a sign.
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount = digits.parse().ok()?;
    // Eight digits of hours are 11,000 years and fit.
    Some(match unit {
        "n" => Duration::from_nanos(amount),
        "u" => Duration::from_micros(amount),
        "m" => Duration::from_millis(amount),
        "S" => Duration::from_secs(amount),
        "M" => Duration::from_secs(amount * 60),
        "H" => Duration::from_secs(amount * 3600),
        _ => return None,
    })
}

/// Two deadlines are equal if they are the same point in time on clocks with the same origin.
impl PartialEq for Deadline {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at && self.clock.has_origin_of(&other.clock)
    }
}

impl Eq for Deadline {}

/// The clock of the current deadline. A clock of which a process has one is not copied for each poll.
#[derive(Clone, Copy)]
enum CurrentClock {
    None,
    Shared(SharedClock),
    /// The one in [`OWN_CLOCK`].
    Own,
}

type Current = (CurrentClock, u64);

thread_local! {
    static CURRENT: Cell<Current> = const { Cell::new((CurrentClock::None, 0)) };
    static OWN_CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
}

#[inline(always)]
fn enter_current<R>(current: Current, run: impl FnOnce() -> R) -> R {
    struct Restore(Current);
    impl Drop for Restore {
        #[inline(always)]
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(current));
    run()
}

/// Enters a deadline on a manual or a custom clock.
#[cold]
fn enter_own_clock<R>(deadline: &Deadline, run: impl FnOnce() -> R) -> R {
    struct Restore(Option<Clock>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let previous = self.0.take();
            let _ = OWN_CLOCK.try_with(|own| own.replace(previous));
        }
    }
    let clock = Some(deadline.clock.clone());
    let Ok(previous) = OWN_CLOCK.try_with(|own| own.replace(clock)) else {
        return run();
    };
    let _restore = Restore(previous);
    enter_current((CurrentClock::Own, deadline.at), run)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

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

    #[test]
    fn the_current_deadline_is_restored_also_after_a_panic_and_on_any_clock() {
        let manual = || Deadline::after(&Clock::manual().0, Duration::from_secs(2));
        let (outer, inner) = (manual(), manual());
        let shared = Deadline::after(&Clock::monotonic(), Duration::from_secs(3));
        assert_ne!(outer, inner);
        Deadline::enter(Some(&outer), || {
            let panic = || Deadline::enter(Some(&inner), || panic!("inside"));
            let panicked = catch_unwind(AssertUnwindSafe(panic));
            assert!(panicked.is_err());
            Deadline::enter(Some(&shared), || {
                assert_eq!(Deadline::current(), Some(shared.clone()));
                Deadline::enter(Some(&inner), || {
                    assert_eq!(Deadline::current(), Some(inner.clone()));
                });
                Deadline::enter(None, || assert_eq!(Deadline::current(), None));
                assert_eq!(Deadline::current(), Some(shared.clone()));
            });
            assert_eq!(Deadline::current(), Some(outer.clone()));
        });
        assert_eq!(Deadline::current(), None);
    }

    /// TO-04
    #[test]
    fn a_timeout_is_parsed_as_specified() {
        let table = [
            ("2H", Some(Duration::from_secs(7200))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("00000007m", Some(Duration::from_millis(7))),
            ("250u", Some(Duration::from_micros(250))),
            ("0n", Some(Duration::ZERO)),
            ("", None),
            ("1", None),
            ("S", None),
            ("123456789S", None),
            ("+1S", None),
            ("-1S", None),
            ("1.5S", None),
            ("1s", None),
            ("1SS", None),
            ("1é", None),
        ];
        for (text, time) in table {
            assert_eq!(parse_grpc_timeout(text), time, "{text}");
        }
    }
}
