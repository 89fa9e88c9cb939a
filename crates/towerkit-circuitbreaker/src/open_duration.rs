use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use towerkit_core::ConfigError;

/// Sets how long a breaker stays open; 10 seconds by default.
///
/// A constant [`Duration`] is set with [`open_for`](crate::CircuitBreakerLayer::open_for). An open duration with exponential backoff
/// spares an upstream that stays away, and jitter keeps the breakers of many processes from probing it at the same moment:
///
/// ```
/// use std::time::Duration;
/// use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenDuration};
///
/// // 5, 10, 20, 40, 60, 60 .. seconds, each of them up to a fifth longer.
/// let open_duration = OpenDuration::new(Duration::from_secs(5))?
///     .backoff(2.0, Duration::from_secs(60))?
///     .jitter(0.2)?;
/// let layer = CircuitBreakerLayer::new().open_duration(open_duration);
/// # let _ = layer;
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenDuration {
    first: u64,
    factor: f64,
    max: u64,
    jitter: f64,
}

impl OpenDuration {
    /// Stays open for `duration` at every opening.
    ///
    /// # Errors
    ///
    /// If `duration` is zero or does not fit into 64 bits of nanoseconds (584 years).
    pub fn new(duration: Duration) -> Result<Self, ConfigError> {
        nanos("open duration", duration).map(Self::constant)
    }

    /// Multiplies the duration by `factor` at each opening, until the breaker has recovered.
    ///
    /// The duration grows up to `max`.
    ///
    /// A breaker has recovered once it has been closed for as long as it was open before; it then starts with the first duration
    /// again. So the backoff survives failed probes, and probes that succeed although the calls after them fail. A
    /// [release](crate::CircuitBreakerHandle::release) resets it.
    ///
    /// # Errors
    ///
    /// If `factor` is below 1 or not finite, or if `max` is below the first duration or does not fit into 64 bits of nanoseconds.
    pub fn backoff(self, factor: f64, max: Duration) -> Result<Self, ConfigError> {
        if !(factor >= 1.0 && factor.is_finite()) {
            let expected = "a finite number of at least 1";
            return Err(ConfigError::new("backoff factor", factor, expected));
        }
        let nanos = nanos("longest open duration", max)?;
        if nanos < self.first {
            let first = Duration::from_nanos(self.first);
            let expected = format!("at least the first open duration, {first:?}");
            return Err(ConfigError::new("longest open duration", max, expected));
        }
        Ok(Self {
            factor,
            max: nanos,
            ..self
        })
    }

    /// Lengthens each duration by a random share of it, up to `share`; 0 by default.
    ///
    /// # Errors
    ///
    /// If `share` is not from 0 to 1.
    pub fn jitter(self, share: f64) -> Result<Self, ConfigError> {
        if !(0.0..=1.0).contains(&share) {
            return Err(ConfigError::new("jitter", share, "a number from 0 to 1"));
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
            max: nanos,
            jitter: 0.0,
        }
    }

    fn after(self, last: u64) -> u64 {
        // The conversion from f64 to u64 saturates.
        let next = (last as f64 * self.factor) as u64;
        next.clamp(self.first, self.max)
    }

    fn with_jitter(self, duration: u64, random: u64) -> u64 {
        // An f64 holds the uppermost 53 bits exactly: at least 0 and below 1.
        let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
        duration.saturating_add((duration as f64 * self.jitter * unit) as u64)
    }
}

impl Default for OpenDuration {
    /// Returns 10 seconds without backoff and jitter.
    fn default() -> Self {
        Self::constant(10_000_000_000)
    }
}

/// The open durations of one breaker, one after the other.
#[derive(Debug)]
pub(crate) struct OpenSchedule {
    /// The last open duration, without jitter and with it; `None` if the breaker was not open since the last reset.
    last: Option<(u64, u64)>,
    closed_at: Option<u64>,
    random: u64,
}

impl OpenSchedule {
    /// Makes the schedule of a breaker that was never open.
    ///
    /// Without a seed, the jitter differs between breakers and between processes.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self {
            last: None,
            closed_at: None,
            random: seed.unwrap_or_else(|| RandomState::new().hash_one(())),
        }
    }

    /// Returns how long a breaker that opens at `now` stays open.
    pub(crate) fn next(&mut self, duration: OpenDuration, now: u64) -> u64 {
        let before = self.last.filter(|last| !self.has_recovered(last.1, now));
        let next = before.map_or(duration.first, |last| duration.after(last.0));
        let jittered = duration.with_jitter(next, self.random());
        self.last = Some((next, jittered));
        self.closed_at = None;
        jittered
    }

    /// Records that the breaker closed.
    pub(crate) fn record_closed(&mut self, now: u64) {
        self.closed_at = Some(now);
    }

    /// Starts with the first duration again.
    pub(crate) fn reset(&mut self) {
        self.last = None;
    }

    /// Returns true if an opening at `now` or later has the first duration.
    pub(crate) fn is_reset(&self, duration: OpenDuration, now: u64) -> bool {
        let has_recovered = |last: (u64, u64)| self.has_recovered(last.1, now);
        duration.factor == 1.0 || self.last.is_none_or(has_recovered)
    }

    fn has_recovered(&self, was_open: u64, now: u64) -> bool {
        self.closed_at
            .is_some_and(|closed_at| now.saturating_sub(closed_at) >= was_open)
    }

    /// Returns the next number of splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Returns a duration in nanoseconds, if it is above zero and fits into 64 bits.
pub(crate) fn nanos(setting: &'static str, duration: Duration) -> Result<u64, ConfigError> {
    match u64::try_from(duration.as_nanos()) {
        Ok(nanos) if nanos > 0 => Ok(nanos),
        _ => {
            let expected = "a duration above zero and below 584 years";
            Err(ConfigError::new(setting, duration, expected))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duration(first: u64) -> OpenDuration {
        OpenDuration::new(Duration::from_nanos(first)).unwrap()
    }

    #[test]
    fn the_duration_grows_until_the_breaker_was_closed_for_as_long_as_it_was_open() {
        let duration = duration(10).backoff(3.0, Duration::from_nanos(50)).unwrap();
        let mut schedule = OpenSchedule::new(Some(1));
        let seen = [0, 10, 40].map(|now| schedule.next(duration, now));
        assert_eq!(seen, [10, 30, 50]);
        schedule.record_closed(100);
        assert_eq!(schedule.next(duration, 149), 50);
        schedule.record_closed(200);
        assert_eq!(schedule.next(duration, 250), 10);
    }

    #[test]
    fn a_reset_starts_with_the_first_duration() {
        let duration = duration(10).backoff(2.0, Duration::from_nanos(50)).unwrap();
        let mut schedule = OpenSchedule::new(Some(1));
        assert_eq!([0, 0].map(|now| schedule.next(duration, now)), [10, 20]);
        schedule.reset();
        assert_eq!(schedule.next(duration, 0), 10);
    }

    #[test]
    fn jitter_lengthens_durations_evenly_up_to_its_share() {
        let duration = duration(1_000_000).jitter(0.5).unwrap();
        let mut schedule = OpenSchedule::new(Some(7));
        let seen: Vec<_> = (0..10_000).map(|_| schedule.next(duration, 0)).collect();
        let mut all = seen.iter();
        assert!(all.all(|nanos| (1_000_000..1_500_000).contains(nanos)));
        let mean = seen.iter().sum::<u64>() / 10_000;
        assert!((1_240_000..1_260_000).contains(&mean), "{mean}");
        assert!(*seen.iter().min().unwrap() < 1_001_000);
        assert!(*seen.iter().max().unwrap() > 1_499_000);
    }

    #[test]
    fn equal_seeds_repeat_the_jitter_and_schedules_without_a_seed_differ() {
        let duration = duration(1 << 60).jitter(1.0).unwrap();
        let first = |seed| OpenSchedule::new(seed).next(duration, 0);
        assert_eq!(first(Some(7)), first(Some(7)));
        assert_ne!(first(Some(7)), first(Some(8)));
        assert_ne!(first(None), first(None));
    }

    #[test]
    fn the_longest_durations_saturate() {
        let duration = duration(u64::MAX).backoff(f64::MAX, Duration::from_nanos(u64::MAX));
        let duration = duration.unwrap().jitter(1.0).unwrap();
        let mut schedule = OpenSchedule::new(Some(7));
        let seen = [0, 0].map(|now| schedule.next(duration, now));
        assert_eq!(seen, [u64::MAX; 2]);
    }
}
