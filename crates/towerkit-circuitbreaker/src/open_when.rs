use std::num::NonZeroU32;

use crate::{InvalidSetting, SlowCall, Window, invalid::Problem, slow_call::Slow};

/// When a closed breaker opens: on one condition, or on [any](Trip::any) of several.
///
/// The default is `failure_rate(0.5, 100, 20)`: half of the last 100 results are failures, once there are 20.
///
/// ```
/// use std::time::Duration;
/// use towerkit_circuitbreaker::OpenWhen;
///
/// assert_eq!(OpenWhen::failure_rate(0.5, 100, 20)?, OpenWhen::default());
/// assert!(OpenWhen::failure_rate(f64::NAN, 100, 20).is_err());
///
/// let minute = Duration::from_secs(60);
/// let open_when = OpenWhen::any([
///     OpenWhen::consecutive_failures(10)?,
///     OpenWhen::failure_rate(0.5, minute, 20)?,
///     OpenWhen::slow_rate(0.8, Duration::from_secs(2), minute, 20)?,
/// ])?;
/// # let _ = open_when;
/// # Ok::<_, towerkit_circuitbreaker::InvalidSetting>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenWhen {
    pub(crate) streak: Option<NonZeroU32>,
    /// One for each [`Kind`].
    pub(crate) rates: [Option<Rate>; 4],
    pub(crate) slow: Option<Slow>,
}

/// A share of the results in a window that opens the breaker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    pub(crate) rate: f64,
    pub(crate) window: Window,
    pub(crate) minimum: u32,
}

/// What is counted, and in which kind of window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    FailuresOfLast,
    SlowOfLast,
    FailuresInTime,
    SlowInTime,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [
        Self::FailuresOfLast,
        Self::SlowOfLast,
        Self::FailuresInTime,
        Self::SlowInTime,
    ];

    /// Returns the bit of this kind among the four.
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Returns the place of this kind among the two of the same kind of window.
    pub(crate) const fn place(self) -> usize {
        self as usize % 2
    }

    const fn failures_in(window: Window) -> Self {
        match window {
            Window::Results(_) => Self::FailuresOfLast,
            Window::Time(_) => Self::FailuresInTime,
        }
    }

    const fn slow_in(window: Window) -> Self {
        match window {
            Window::Results(_) => Self::SlowOfLast,
            Window::Time(_) => Self::SlowInTime,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::FailuresOfLast => "failure rates over the last results",
            Self::SlowOfLast => "slow-call rates over the last results",
            Self::FailuresInTime => "failure rates over a time",
            Self::SlowInTime => "slow-call rates over a time",
        }
    }
}

impl OpenWhen {
    const NEVER: Self = Self {
        streak: None,
        rates: [None; 4],
        slow: None,
    };

    /// Opens at the `failures`th failure in a row.
    ///
    /// # Errors
    ///
    /// If `failures` is 0.
    pub fn consecutive_failures(failures: u32) -> Result<Self, InvalidSetting> {
        let streak = NonZeroU32::new(failures);
        if streak.is_none() {
            return Err(InvalidSetting(Problem::Zero("number of failures")));
        }
        Ok(Self {
            streak,
            ..Self::NEVER
        })
    }

    /// Opens when the share `rate` of the results in `window`, or more, are failures, and there are at least `minimum` results.
    ///
    /// The window slides with every result, or with time, and is empty after every change of state, so that a breaker which has
    /// just closed gathers `minimum` results before it judges again. It judges when a result comes in, not when one is forgotten.
    ///
    /// The rate is compared with the quotient in `f64`, so that one failure in three reaches `1.0 / 3.0`.
    ///
    /// # Errors
    ///
    /// If `rate` is not above 0 and at most 1, if `window` is not 1 to 32 767 results, or 20 ns to 584 years, or if `minimum` is 0 or
    /// more than the window holds.
    pub fn failure_rate(
        rate: f64,
        window: impl Into<Window>,
        minimum: u32,
    ) -> Result<Self, InvalidSetting> {
        let rate = Rate::new(rate, window.into(), minimum)?;
        Ok(Self::of(Kind::failures_in(rate.window), rate))
    }

    /// Opens when the share `rate` of the results in `window`, or more, are slow, and there are at least `minimum` results.
    ///
    /// A call is slow if it ran longer than `slow`, whether it succeeded, failed or was cancelled. Over HTTP a call runs to the end
    /// of its body, unless a [`SlowCall`] says [`to_head`](SlowCall::to_head). It counts when it ends, or while it still
    /// hangs with [`while_in_flight`](SlowCall::while_in_flight). A breaker with such a condition, and no other, reads the clock when a
    /// call starts.
    ///
    /// # Errors
    ///
    /// As for [`failure_rate`](Self::failure_rate), and if the time of `slow` is zero or does not fit in 64 bits of nanoseconds (584
    /// years).
    pub fn slow_rate(
        rate: f64,
        slow: impl Into<SlowCall>,
        window: impl Into<Window>,
        minimum: u32,
    ) -> Result<Self, InvalidSetting> {
        let rate = Rate::new(rate, window.into(), minimum)?;
        Ok(Self {
            slow: Some(slow.into().checked()?),
            ..Self::of(Kind::slow_in(rate.window), rate)
        })
    }

    /// Opens when any of these conditions is met.
    ///
    /// # Errors
    ///
    /// If there are none, if two are of the same kind (the same thing counted in the same kind of window), or if two slow-call rates
    /// differ about when a call is slow.
    pub fn any(conditions: impl IntoIterator<Item = Self>) -> Result<Self, InvalidSetting> {
        let all = conditions.into_iter().try_fold(Self::NEVER, Self::or)?;
        if all == Self::NEVER {
            return Err(InvalidSetting(Problem::Zero("number of conditions")));
        }
        Ok(all)
    }

    /// Whether both count the same things in the same windows, so that what one has counted is worth something to the other.
    pub(crate) fn counts_like(&self, other: &Self) -> bool {
        let windows = |open_when: &Self| open_when.rates.map(|rate| rate.map(|rate| rate.window));
        let slow = |open_when: &Self| open_when.slow.map(Slow::counting);
        self.streak.is_some() == other.streak.is_some()
            && windows(self) == windows(other)
            && slow(self) == slow(other)
    }

    fn of(kind: Kind, rate: Rate) -> Self {
        let mut open_when = Self::NEVER;
        open_when.rates[kind as usize] = Some(rate);
        open_when
    }

    fn or(mut self, other: Self) -> Result<Self, InvalidSetting> {
        self.streak = either(self.streak, other.streak, "numbers of failures in a row")?;
        for kind in Kind::ALL {
            let (rate, more) = (&mut self.rates[kind as usize], other.rates[kind as usize]);
            *rate = either(*rate, more, kind.name())?;
        }
        if self.slow != other.slow {
            self.slow = either(self.slow, other.slow, "slow thresholds")?;
        }
        Ok(self)
    }
}

fn either<T>(
    one: Option<T>,
    other: Option<T>,
    what: &'static str,
) -> Result<Option<T>, InvalidSetting> {
    match (one, other) {
        (Some(_), Some(_)) => Err(InvalidSetting(Problem::Twice(what))),
        (one, other) => Ok(one.or(other)),
    }
}

impl Rate {
    fn new(rate: f64, window: Window, minimum: u32) -> Result<Self, InvalidSetting> {
        if !(rate > 0.0 && rate <= 1.0) {
            return Err(InvalidSetting(Problem::Rate(rate)));
        }
        window.check(minimum)?;
        Ok(Self {
            rate,
            window,
            minimum,
        })
    }
}

impl Default for OpenWhen {
    fn default() -> Self {
        let rate = Rate {
            rate: 0.5,
            window: Window::Results(100),
            minimum: 20,
        };
        Self::of(Kind::FailuresOfLast, rate)
    }
}
