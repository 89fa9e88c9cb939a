use std::{num::NonZeroU32, time::Duration};

use towerkit_core::ConfigError;

use crate::{count_window::CountWindow, open_duration::nanos, time_window::TimeWindow};

/// The condition that opens a closed breaker: one condition, or [any](Self::any) of several.
///
/// The default is `failure_rate(0.5, 100, 20)`: half of the last 100 results are failures, once there are 20 results.
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
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenWhen {
    pub(crate) consecutive_failures: Option<NonZeroU32>,
    /// One threshold for each [`RateKind`].
    pub(crate) rates: [Option<RateThreshold>; 4],
    pub(crate) slow: Option<SlowThreshold>,
}

impl OpenWhen {
    const NEVER: Self = Self {
        consecutive_failures: None,
        rates: [None; 4],
        slow: None,
    };

    /// Opens after so many failures in a row.
    ///
    /// # Errors
    ///
    /// If `failures` is 0.
    pub fn consecutive_failures(failures: u32) -> Result<Self, ConfigError> {
        match NonZeroU32::new(failures) {
            None => Err(zero("number of consecutive failures")),
            failures => Ok(Self {
                consecutive_failures: failures,
                ..Self::NEVER
            }),
        }
    }

    /// Opens if at least this share of the results in the window are failures.
    ///
    /// A `rate` of 0.5 is half of the results, of which the window must contain at least `minimum`. The rule and its minimum are those of Hystrix (`requestVolumeThreshold`) and resilience4j (`minimumNumberOfCalls`). A
    /// [`Window`] over results or over time slides; it is empty after each change of [state](crate::State), so that a breaker which
    /// has just closed needs `minimum` results before it can open again. The rate is compared when a result is counted, not when a
    /// result leaves the window.
    ///
    /// The quotient is compared as [`f64`], so that one failure in three reaches `1.0 / 3.0`.
    ///
    /// # Errors
    ///
    /// If `rate` is not above 0 and at most 1, if `window` is not 1 to 32 767 results or 20 ns to 584 years, or if `minimum` is 0 or
    /// larger than the window.
    pub fn failure_rate(
        rate: f64,
        window: impl Into<Window>,
        minimum: u32,
    ) -> Result<Self, ConfigError> {
        let threshold = RateThreshold::new(rate, window.into(), minimum)?;
        let kind = match threshold.window {
            Window::Results(_) => RateKind::FailuresByCount,
            Window::Time(_) => RateKind::FailuresByTime,
        };
        Ok(Self::rate(kind, threshold))
    }

    /// Opens if at least this share of the results in the window are slow.
    ///
    /// A call is slow if it ran longer than `slow`, also if it failed or was cancelled. Over HTTP a call runs to the end of its body,
    /// or to the head of the response with [`SlowCall::to_head`]. It counts when it ends, or while it is still in flight with
    /// [`SlowCall::while_in_flight`]. A breaker reads the [clock](crate::CircuitBreakerLayer::clock) at the start of a call only if it
    /// has such a condition.
    ///
    /// # Errors
    ///
    /// As for [`failure_rate`](Self::failure_rate), and if the duration of `slow` is zero or does not fit into 64 bits of nanoseconds
    /// (584 years).
    pub fn slow_rate(
        rate: f64,
        slow: impl Into<SlowCall>,
        window: impl Into<Window>,
        minimum: u32,
    ) -> Result<Self, ConfigError> {
        let threshold = RateThreshold::new(rate, window.into(), minimum)?;
        let kind = match threshold.window {
            Window::Results(_) => RateKind::SlowByCount,
            Window::Time(_) => RateKind::SlowByTime,
        };
        Ok(Self {
            slow: Some(slow.into().threshold()?),
            ..Self::rate(kind, threshold)
        })
    }

    /// Opens if any of these conditions is met.
    ///
    /// # Errors
    ///
    /// If there are no conditions, if two are of the same kind (the same results counted in the same kind of [`Window`]), or if two
    /// slow-call rates have different [`SlowCall`]s.
    pub fn any(conditions: impl IntoIterator<Item = Self>) -> Result<Self, ConfigError> {
        let all = conditions.into_iter().try_fold(Self::NEVER, Self::or)?;
        if all == Self::NEVER {
            return Err(zero("number of conditions"));
        }
        Ok(all)
    }

    /// Returns true if both count the same results in the same windows, so that the counts of one are valid for the other.
    pub(crate) fn counts_like(&self, other: &Self) -> bool {
        let windows = |open_when: &Self| open_when.rates.map(|rate| rate.map(|rate| rate.window));
        let slow = |open_when: &Self| open_when.slow.map(SlowThreshold::counting);
        self.consecutive_failures.is_some() == other.consecutive_failures.is_some()
            && windows(self) == windows(other)
            && slow(self) == slow(other)
    }

    fn rate(kind: RateKind, threshold: RateThreshold) -> Self {
        let mut open_when = Self::NEVER;
        open_when.rates[kind as usize] = Some(threshold);
        open_when
    }

    fn or(mut self, other: Self) -> Result<Self, ConfigError> {
        self.consecutive_failures = at_most_one(
            self.consecutive_failures,
            other.consecutive_failures,
            "consecutive failures",
        )?;
        for kind in RateKind::ALL {
            let (rate, more) = (&mut self.rates[kind as usize], other.rates[kind as usize]);
            *rate = at_most_one(*rate, more, kind.name())?;
        }
        if self.slow != other.slow {
            self.slow = at_most_one(self.slow, other.slow, "slow-call threshold")?;
        }
        Ok(self)
    }
}

impl Default for OpenWhen {
    fn default() -> Self {
        let threshold = RateThreshold {
            rate: 0.5,
            window: Window::Results(100),
            minimum: 20,
        };
        Self::rate(RateKind::FailuresByCount, threshold)
    }
}

/// The results that a rate is computed from.
///
/// [`u16`] and [`Duration`] convert into a window: `OpenWhen::failure_rate(0.5, 100, 20)` counts the last 100 results, and
/// `OpenWhen::failure_rate(0.5, Duration::from_secs(10), 20)` those of the last 10 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Holds the last 1 to 32 767 results, in 4 bytes each.
    Results(u16),
    /// Holds the results of the last so much time, at least 20 ns, in 400 bytes.
    ///
    /// The window consists of 20 buckets of a twentieth of its length, rounded down to a nanosecond; Hystrix has 10. A result leaves
    /// the window together with its bucket, after nineteen twentieths of the window at the earliest and a whole window at the latest.
    Time(Duration),
}

impl Window {
    /// Returns the nanoseconds of a window over time.
    pub(crate) fn nanos(self) -> Option<u64> {
        match self {
            Self::Results(_) => None,
            Self::Time(time) => u64::try_from(time.as_nanos()).ok(),
        }
    }

    fn check(self, minimum: u32) -> Result<(), ConfigError> {
        let is_valid = match self {
            Self::Results(results) => (1..=CountWindow::MAX).contains(&results),
            Self::Time(_) => self.nanos().is_some_and(|nanos| nanos >= TimeWindow::MIN),
        };
        if !is_valid {
            let expected = "1 to 32767 results, or 20 ns to 584 years";
            return Err(ConfigError::new("window", self, expected));
        }
        match self {
            _ if minimum == 0 => Err(zero("minimum of results")),
            Self::Results(results) if minimum > results.into() => {
                let expected = format!("at most the {results} results of the window");
                Err(ConfigError::new("minimum of results", minimum, expected))
            }
            _ => Ok(()),
        }
    }
}

impl From<u16> for Window {
    fn from(results: u16) -> Self {
        Self::Results(results)
    }
}

impl From<Duration> for Window {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

/// Says when a call is slow, for [`OpenWhen::slow_rate`].
///
/// A [`Duration`] converts into a `SlowCall`: a call is slow if it ran longer than that, from its start to its end.
///
/// ```
/// use std::time::Duration;
/// use towerkit_circuitbreaker::{OpenWhen, SlowCall};
///
/// // The upstream does not start to respond for two seconds; the client reads response bodies at its own speed.
/// let slow = SlowCall::longer_than(Duration::from_secs(2)).to_head().while_in_flight();
/// let open_when = OpenWhen::slow_rate(0.5, slow, 100, 20)?;
/// # let _ = open_when;
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowCall {
    after: Duration,
    to_head: bool,
    while_in_flight: bool,
}

impl SlowCall {
    /// Treats a call as slow if it runs longer than `duration`.
    ///
    /// Over HTTP a call runs to the end of its body, so that a client that reads slowly makes it slow.
    #[must_use]
    pub fn longer_than(duration: Duration) -> Self {
        Self {
            after: duration,
            to_head: false,
            while_in_flight: false,
        }
    }

    /// Measures a call to the head of its response; to its end by default.
    ///
    /// A call that ends without a head is measured to its end. The result counts when the call ends.
    #[must_use]
    pub fn to_head(mut self) -> Self {
        self.to_head = true;
        self
    }

    /// Counts a slow call while it is still in flight; when it ends by default.
    ///
    /// Calls that hang then open the breaker before they end. The breaker looks for them when any of its calls starts or ends and when a
    /// [snapshot](crate::CircuitBreakerHandle::snapshot) is taken. A call counts once, as soon as it is found to have run a fourteenth
    /// longer than the threshold. Its success or failure counts when it ends.
    ///
    /// The call counts as slow even if an inner layer rejects it later or [`count_as`](crate::CircuitBreakerLayer::count_as) ignores it.
    /// This option costs two atomic writes for each call and 150 bytes for each breaker.
    #[must_use]
    pub fn while_in_flight(mut self) -> Self {
        self.while_in_flight = true;
        self
    }

    fn threshold(self) -> Result<SlowThreshold, ConfigError> {
        Ok(SlowThreshold {
            after: nanos("slow-call threshold", self.after)?,
            to_head: self.to_head,
            while_in_flight: self.while_in_flight,
        })
    }
}

impl From<Duration> for SlowCall {
    fn from(duration: Duration) -> Self {
        Self::longer_than(duration)
    }
}

/// A [`SlowCall`] with a duration that fits into 64 bits of nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlowThreshold {
    pub(crate) after: u64,
    pub(crate) to_head: bool,
    pub(crate) while_in_flight: bool,
}

impl SlowThreshold {
    /// Returns the parts that must stay the same for the calls in flight to stay counted.
    fn counting(self) -> (bool, Option<u64>) {
        (self.to_head, self.while_in_flight.then_some(self.after))
    }
}

/// The share of failed or slow results that opens the breaker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RateThreshold {
    pub(crate) rate: f64,
    pub(crate) window: Window,
    pub(crate) minimum: u32,
}

impl RateThreshold {
    fn new(rate: f64, window: Window, minimum: u32) -> Result<Self, ConfigError> {
        if !(rate > 0.0 && rate <= 1.0) {
            let expected = "a number above 0 and at most 1";
            return Err(ConfigError::new("rate", rate, expected));
        }
        window.check(minimum)?;
        Ok(Self {
            rate,
            window,
            minimum,
        })
    }
}

/// The results that a rate counts, and the kind of its [`Window`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateKind {
    FailuresByCount,
    SlowByCount,
    FailuresByTime,
    SlowByTime,
}

impl RateKind {
    pub(crate) const ALL: [Self; 4] = [
        Self::FailuresByCount,
        Self::SlowByCount,
        Self::FailuresByTime,
        Self::SlowByTime,
    ];

    /// Returns the bit of this kind in a set of kinds.
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Returns the index of the window among the two windows of the same kind.
    pub(crate) const fn window_index(self) -> usize {
        self as usize % 2
    }

    const fn name(self) -> &'static str {
        match self {
            Self::FailuresByCount => "failure rate over results",
            Self::SlowByCount => "slow-call rate over results",
            Self::FailuresByTime => "failure rate over time",
            Self::SlowByTime => "slow-call rate over time",
        }
    }
}

fn at_most_one<T>(
    one: Option<T>,
    other: Option<T>,
    name: &'static str,
) -> Result<Option<T>, ConfigError> {
    match (one, other) {
        (Some(_), Some(_)) => Err(ConfigError::new("condition", name, "each kind once")),
        (one, other) => Ok(one.or(other)),
    }
}

fn zero(setting: &'static str) -> ConfigError {
    ConfigError::new(setting, 0, "at least 1")
}
