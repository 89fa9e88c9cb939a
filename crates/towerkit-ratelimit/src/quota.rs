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
    /// If either is zero, or if a bucket of that size takes longer to fill than about 2 years.
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

/// A quota in the arithmetic of the buckets: sixteenths of a nanosecond, see [`Rate`](crate::rate::Rate).
///
/// The interval between two tokens is rarely a whole number of them. It is rounded up, so that the rate is never exceeded, and by so
/// little that a million calls a second lose one in sixteen thousand at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spacing {
    /// Twice the sixteenths between two tokens.
    pub(crate) interval: u64,
    /// Twice the sixteenths in which an empty bucket fills.
    pub(crate) depth: u64,
}

impl Spacing {
    /// The sixteenths of a nanosecond, twice: the lowest bit of a word is not part of the time.
    pub(crate) const SHIFT: u32 = 5;

    fn of(quota: &Quota) -> Result<Self, InvalidQuota> {
        let parts = [
            ("count", quota.count == 0),
            ("period", quota.per.is_zero()),
            ("burst", quota.burst == 0),
        ];
        if let Some((what, _)) = parts.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(InvalidQuota(Problem::Zero(what)));
        }
        let sixteenths = (quota.per.as_nanos() << (Self::SHIFT - 1)).div_ceil(quota.count.into());
        let interval = sixteenths << 1;
        let depth = interval.saturating_mul(quota.burst.into());
        match (u64::try_from(interval), u64::try_from(depth)) {
            (Ok(interval), Ok(depth)) if depth <= Self::DEEPEST => Ok(Self { interval, depth }),
            _ => Err(InvalidQuota(Problem::DoesNotFit)),
        }
    }

    /// The depth that no bucket exceeds.
    pub(crate) const DEEPEST: u64 = 1 << 61;

    /// The end of time, in nanoseconds: 9 years after the clock's origin.
    pub(crate) const END: u64 = 1 << (63 - Self::SHIFT);

    /// A point in time, or a length of it, in the unit of the words.
    pub(crate) fn units(nanos: u64) -> u64 {
        nanos.min(Self::END) << Self::SHIFT
    }

    /// Whole nanoseconds, rounded up.
    pub(crate) fn nanos(units: u64) -> u64 {
        units.div_ceil(1 << Self::SHIFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_rounded_up_to_a_sixteenth_of_a_nanosecond() {
        for (count, sixteenths) in [
            (1, 16_000_000_000),
            (3, 5_333_333_334),
            (30_000, 533_334),
            (1_000_000_000, 16),
            (u32::MAX, 4),
        ] {
            let spacing = Quota::per_second(count).unwrap().spacing();
            assert_eq!(spacing.interval, 2 * sixteenths);
            assert_eq!(spacing.depth, spacing.interval * u64::from(count));
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
