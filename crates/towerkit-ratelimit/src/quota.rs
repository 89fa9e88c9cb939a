use std::{error::Error, fmt, time::Duration};

/// How many calls are admitted in how much time, and how many at once.
///
/// ```
/// use std::time::Duration;
/// use towerkit_ratelimit::Quota;
///
/// let quota = Quota::new(3, Duration::from_secs(60))?.burst(10)?;
/// assert_eq!(quota.to_string(), "3 per 60s, burst 10");
/// assert!(Quota::per_second(0).is_err());
/// # Ok::<_, towerkit_ratelimit::InvalidQuota>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    count: u32,
    per: Duration,
    burst: u32,
}

impl Quota {
    /// Admits `count` calls in every `per`, evenly spread, and as many at once.
    ///
    /// # Errors
    ///
    /// If either is zero, or if a bucket of that size takes longer to fill than about 36 years.
    pub fn new(count: u32, per: Duration) -> Result<Self, InvalidQuota> {
        let quota = Self {
            count,
            per,
            burst: count,
        };
        Spacing::of(&quota).map(|_| quota)
    }

    /// Admits `count` calls a second, evenly spread, and as many at once.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn per_second(count: u32) -> Result<Self, InvalidQuota> {
        Self::new(count, Duration::from_secs(1))
    }

    /// Admits `burst` calls at once after a rest; `count` by default.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn burst(mut self, burst: u32) -> Result<Self, InvalidQuota> {
        self.burst = burst;
        Spacing::of(&self).map(|_| self)
    }

    /// Returns how many calls are admitted in every [`period`](Self::period).
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Returns the time in which [`count`](Self::count) calls are admitted.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.per
    }

    /// Returns how many calls are admitted at once after a rest.
    #[must_use]
    pub const fn burst_size(&self) -> u32 {
        self.burst
    }

    pub(crate) fn spacing(&self) -> Spacing {
        Spacing::of(self).expect("a quota is checked when it is made")
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, per, burst } = self;
        write!(f, "{count} per {per:?}, burst {burst}")
    }
}

/// A quota that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidQuota(Problem);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    Zero(&'static str),
    DoesNotFit,
}

impl fmt::Display for InvalidQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Problem::Zero(what) => write!(f, "the {what} of a quota is zero"),
            Problem::DoesNotFit => f.write_str("the bucket of a quota takes too long to fill"),
        }
    }
}

impl Error for InvalidQuota {}

/// A quota in the arithmetic of the bucket: ticks, of which there are a whole number in a nanosecond.
///
/// The interval between two tokens is rarely a whole number of nanoseconds. Ticks are chosen so that it is a whole number of them
/// where 1 to 16 ticks a nanosecond can do that; otherwise it is rounded up by the least there is, at most 1/16 ns, so that the rate
/// is never exceeded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spacing {
    /// Ticks in a nanosecond.
    pub(crate) scale: u64,
    /// Ticks between two tokens.
    pub(crate) interval: u64,
    /// Ticks that the bucket may be ahead of the clock: the burst but one.
    pub(crate) tolerance: u64,
}

impl Spacing {
    const SCALES: std::ops::RangeInclusive<u64> = 1..=16;

    fn of(quota: &Quota) -> Result<Self, InvalidQuota> {
        let parts = [
            ("count", quota.count == 0),
            ("period", quota.per.is_zero()),
            ("burst", quota.burst == 0),
        ];
        if let Some((what, _)) = parts.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(InvalidQuota(Problem::Zero(what)));
        }
        let count = u128::from(quota.count);
        let interval = |scale| (quota.per.as_nanos() * u128::from(scale)).div_ceil(count);
        // The excess of `scale` whole nanoseconds' worth of ticks over the exact interval, in 1/count ticks.
        let excess = |scale| interval(scale) * count - quota.per.as_nanos() * u128::from(scale);
        let scale = Self::SCALES
            .min_by(|a, b| (excess(*a) * u128::from(*b)).cmp(&(excess(*b) * u128::from(*a))))
            .expect("there is a scale");
        let fits = |ticks: u128| {
            let ticks = u64::try_from(ticks).ok();
            ticks.filter(|ticks| *ticks <= u64::MAX / 2)
        };
        let interval = fits(interval(scale));
        let tolerance =
            interval.and_then(|interval| fits(u128::from(interval) * u128::from(quota.burst - 1)));
        match (interval, tolerance) {
            (Some(interval), Some(tolerance)) => Ok(Self {
                scale,
                interval,
                tolerance,
            }),
            _ => Err(InvalidQuota(Problem::DoesNotFit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_exact_where_sixteenths_of_a_nanosecond_allow() {
        for (count, scale, interval) in [
            (1, 1, 1_000_000_000),
            (3, 3, 1_000_000_000),
            (30_000, 3, 100_000),
            (700_000_000, 7, 10),
            (1_000_000_000, 1, 1),
        ] {
            let spacing = Quota::per_second(count).unwrap().spacing();
            assert_eq!((spacing.scale, spacing.interval), (scale, interval));
        }
    }

    /// T-07, RL-06
    #[test]
    fn nonsense_is_a_typed_error() {
        let day = Duration::from_secs(24 * 3600);
        assert!(Quota::new(1, 30 * day).is_ok());
        assert!(
            Quota::per_second(1_000_000_000)
                .and_then(|q| q.burst(u32::MAX))
                .is_ok()
        );
        assert!(Quota::per_second(u32::MAX).is_ok());
        for nonsense in [
            Quota::per_second(0),
            Quota::new(1, Duration::ZERO),
            Quota::new(1, Duration::MAX),
            Quota::new(u32::MAX, Duration::MAX),
            Quota::per_second(1).and_then(|q| q.burst(0)),
            Quota::new(1, 30 * day).and_then(|q| q.burst(u32::MAX)),
        ] {
            assert!(nonsense.is_err(), "{nonsense:?}");
        }
    }
}
