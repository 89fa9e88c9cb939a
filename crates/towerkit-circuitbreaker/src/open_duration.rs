use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use crate::{
    InvalidSetting,
    invalid::{Problem, nanos},
};

/// How long an open breaker rejects calls before it lets probes through.
///
/// A time that grows spares a callee that stays away; jitter keeps the breakers of many processes from probing it all at once.
///
/// ```
/// use std::time::Duration;
/// use towerkit_circuitbreaker::OpenDuration;
///
/// // 5, 10, 20, 40, 60, 60 .. seconds, each of them up to a fifth longer.
/// let time = OpenDuration::new(Duration::from_secs(5))?
///     .growing(2.0, Duration::from_secs(60))?
///     .jitter(0.2)?;
/// # let _ = time;
/// # Ok::<_, towerkit_circuitbreaker::InvalidSetting>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenDuration {
    first: u64,
    factor: f64,
    longest: u64,
    jitter: f64,
}

impl OpenDuration {
    /// The same time at every opening.
    ///
    /// # Errors
    ///
    /// If `time` is zero, or does not fit in 64 bits of nanoseconds (584 years).
    pub fn new(time: Duration) -> Result<Self, InvalidSetting> {
        nanos("open time", time).map(Self::constant)
    }

    /// Multiplies the time by `factor`, up to `longest`, whenever the breaker opens and has not recovered since it opened before.
    ///
    /// It has recovered, and begins with the first time again, when it has been closed for as long as it was open last. So neither
    /// failed probes nor probes that succeed only for the next calls to fail make it start over. A release starts over, too.
    ///
    /// # Errors
    ///
    /// If `factor` is not a number of 1 or more, or if `longest` is below the first time or does not fit in 64 bits of nanoseconds.
    pub fn growing(self, factor: f64, longest: Duration) -> Result<Self, InvalidSetting> {
        if !(factor >= 1.0 && factor.is_finite()) {
            return Err(InvalidSetting(Problem::Growth(factor)));
        }
        let nanos = nanos("longest open time", longest)?;
        if nanos < self.first {
            let first = Duration::from_nanos(self.first);
            return Err(InvalidSetting(Problem::LongestBelowFirst {
                longest,
                first,
            }));
        }
        Ok(Self {
            factor,
            longest: nanos,
            ..self
        })
    }

    /// Makes each time longer by a random share of it, up to `share`; never shorter. 0 by default.
    ///
    /// # Errors
    ///
    /// If `share` is not 0 to 1.
    pub fn jitter(self, share: f64) -> Result<Self, InvalidSetting> {
        if !(0.0..=1.0).contains(&share) {
            return Err(InvalidSetting(Problem::Jitter(share)));
        }
        Ok(Self {
            jitter: share,
            ..self
        })
    }

    const fn constant(nanos: u64) -> Self {
        Self {
            first: nanos,
            factor: 1.0,
            longest: nanos,
            jitter: 0.0,
        }
    }

    fn after(self, last: u64) -> u64 {
        // From f64 to u64 saturates.
        let grown = (last as f64 * self.factor) as u64;
        grown.clamp(self.first, self.longest)
    }

    fn with_jitter(self, time: u64, random: u64) -> u64 {
        // The uppermost 53 bits, which an f64 holds exactly: 0 or more, and below 1.
        let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
        time.saturating_add((time as f64 * self.jitter * unit) as u64)
    }
}

impl Default for OpenDuration {
    /// 10 seconds.
    fn default() -> Self {
        Self::constant(10_000_000_000)
    }
}

/// The open times of one breaker, one after the other.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// How long the breaker was open last, without jitter and with; `None` if it has been well ever since.
    last: Option<(u64, u64)>,
    closed_at: Option<u64>,
    random: u64,
}

impl Schedule {
    /// A breaker that has not been open. Without a seed, jitter differs from breaker to breaker and from process to process.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self {
            last: None,
            closed_at: None,
            random: seed.unwrap_or_else(|| RandomState::new().hash_one(())),
        }
    }

    /// Returns how long the breaker stays open that opens at `now`.
    pub(crate) fn open(&mut self, time: OpenDuration, now: u64) -> u64 {
        let before = self.last.filter(|last| !self.has_recovered(last.1, now));
        let next = before.map_or(time.first, |last| time.after(last.0));
        let jittered = time.with_jitter(next, self.random());
        self.last = Some((next, jittered));
        self.closed_at = None;
        jittered
    }

    /// Takes note that probes closed the breaker.
    pub(crate) fn close(&mut self, now: u64) {
        self.closed_at = Some(now);
    }

    /// Forgets that the breaker was ever open.
    pub(crate) fn reset(&mut self) {
        self.last = None;
    }

    /// Whether the next opening at this or a later time is one like the first.
    pub(crate) fn is_fresh(&self, time: OpenDuration, now: u64) -> bool {
        let is_recovered = |last: (u64, u64)| self.has_recovered(last.1, now);
        time.factor == 1.0 || self.last.is_none_or(is_recovered)
    }

    fn has_recovered(&self, was_open: u64, now: u64) -> bool {
        self.closed_at
            .is_some_and(|closed_at| now.saturating_sub(closed_at) >= was_open)
    }

    /// splitmix64 (Steele, Lea and Flood, 2014).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(first: u64) -> OpenDuration {
        OpenDuration::new(Duration::from_nanos(first)).unwrap()
    }

    #[test]
    fn a_time_grows_until_the_breaker_has_been_closed_for_as_long_as_it_was_open() {
        let time = time(10).growing(3.0, Duration::from_nanos(50)).unwrap();
        let mut schedule = Schedule::new(Some(1));
        assert_eq!(
            [0, 10, 40].map(|now| schedule.open(time, now)),
            [10, 30, 50]
        );
        schedule.close(100);
        assert_eq!(schedule.open(time, 149), 50);
        schedule.close(200);
        assert_eq!(schedule.open(time, 250), 10);
    }

    #[test]
    fn a_reset_starts_over() {
        let time = time(10).growing(2.0, Duration::from_nanos(50)).unwrap();
        let mut schedule = Schedule::new(Some(1));
        assert_eq!([0, 0].map(|now| schedule.open(time, now)), [10, 20]);
        schedule.reset();
        assert_eq!(schedule.open(time, 0), 10);
    }

    #[test]
    fn jitter_only_ever_makes_a_time_longer_and_fills_its_share() {
        let time = time(1_000_000).jitter(0.5).unwrap();
        let mut schedule = Schedule::new(Some(7));
        let times: Vec<_> = (0..10_000).map(|_| schedule.open(time, 0)).collect();
        assert!(
            times
                .iter()
                .all(|time| (1_000_000..1_500_000).contains(time))
        );
        let mean = times.iter().sum::<u64>() / 10_000;
        assert!((1_240_000..1_260_000).contains(&mean), "{mean}");
        assert!(*times.iter().min().unwrap() < 1_001_000);
        assert!(*times.iter().max().unwrap() > 1_499_000);
    }

    #[test]
    fn a_seed_gives_the_same_times_again_and_none_gives_others() {
        let time = time(1 << 60).jitter(1.0).unwrap();
        let first = |seed| Schedule::new(seed).open(time, 0);
        assert_eq!(first(Some(7)), first(Some(7)));
        assert_ne!(first(Some(7)), first(Some(8)));
        assert_ne!(first(None), first(None));
    }

    #[test]
    fn the_longest_times_saturate() {
        let time = time(u64::MAX).growing(f64::MAX, Duration::from_nanos(u64::MAX));
        let time = time.unwrap().jitter(1.0).unwrap();
        let mut schedule = Schedule::new(Some(7));
        assert_eq!([0, 0].map(|now| schedule.open(time, now)), [u64::MAX; 2]);
    }
}
