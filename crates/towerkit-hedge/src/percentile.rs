use std::time::Duration;

use towerkit_core::ConfigError;

/// A hedging delay that follows how long calls take: a percentile of recent times.
///
/// Read from a histogram whose buckets are a sixteenth wide: never less than the true percentile of the samples, and more by less
/// than 6.25 %, or a microsecond. It is worked out anew 64 times in a half of the window.
///
/// What is counted is how long *first* attempts take that are hedgeable. One that was answered, also with an error that is the
/// caller's, counts with its time. One that failed, lost against a hedge or was dropped counts only if it had taken longer than the
/// delay already: for the percentile it matters how many take longer than that, and not by how much. Failures that are quick, and
/// callers that go away, therefore do not make the delay shorter, and slow attempts that were beaten do not make it shorter either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentile {
    /// Millionths.
    pub(crate) quantile: u32,
    pub(crate) minimum: u32,
    pub(crate) bounds: Bounds,
    /// Half of the window, in milliseconds.
    pub(crate) half: u64,
}

impl Percentile {
    /// Waits as long as that share of recent calls took at most, for example 0.95; rounded to a millionth.
    ///
    /// # Errors
    ///
    /// If it is not between 0 and 1.
    pub fn new(quantile: f64) -> Result<Self, ConfigError> {
        // In range, so that the cast is exact; what is no number is not in range.
        let millionths = (0.0..1.0)
            .contains(&quantile)
            .then(|| (quantile * 1e6).round() as u32);
        match millionths {
            Some(millionths @ 1..1_000_000) => Ok(Self {
                quantile: millionths,
                minimum: 100,
                bounds: Bounds {
                    floor: 1_000,
                    ceiling: 1_000_000,
                },
                half: 30_000,
            }),
            _ => Err(ConfigError::new(
                "percentile",
                quantile,
                "a number between 0 and 1",
            )),
        }
    }

    /// Waits no less than `floor` and no more than `ceiling`; 1 ms and 1 s by default.
    ///
    /// # Errors
    ///
    /// If one is less than a microsecond or more than 71 minutes, or `floor` is above `ceiling`.
    pub fn between(self, floor: Duration, ceiling: Duration) -> Result<Self, ConfigError> {
        let bounds = Bounds::new(floor, ceiling)?;
        Ok(Self { bounds, ..self })
    }

    /// Waits for the ceiling until there are so many samples; 100 by default.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn minimum_samples(self, minimum: u32) -> Result<Self, ConfigError> {
        if minimum == 0 {
            return Err(ConfigError::new(
                "minimum_samples",
                minimum,
                "at least one sample",
            ));
        }
        Ok(Self { minimum, ..self })
    }

    /// Forgets samples after half of that time at least, and all of it at most; 60 s by default.
    ///
    /// # Errors
    ///
    /// If it is not between a second and 10 minutes.
    pub fn window(self, window: Duration) -> Result<Self, ConfigError> {
        let allowed = Duration::from_secs(1)..=Duration::from_secs(600);
        if !allowed.contains(&window) {
            return Err(ConfigError::new(
                "window",
                window,
                "a time from 1 s to 10 minutes",
            ));
        }
        // In range, so that the cast is exact.
        let half = window.as_millis() as u64 / 2;
        Ok(Self { half, ..self })
    }
}

/// The shortest and the longest delay, in microseconds: the same, where the delay is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    floor: u32,
    ceiling: u32,
}

impl Bounds {
    pub(crate) fn fixed(delay: Duration) -> Result<Self, ConfigError> {
        let micros = micros(delay)
            .ok_or_else(|| ConfigError::new("delay", delay, "a time from 1 µs to 71 minutes"))?;
        Ok(Self {
            floor: micros,
            ceiling: micros,
        })
    }

    fn new(floor: Duration, ceiling: Duration) -> Result<Self, ConfigError> {
        match (micros(floor), micros(ceiling)) {
            (Some(floor), Some(ceiling)) if floor <= ceiling => Ok(Self { floor, ceiling }),
            _ => Err(ConfigError::new(
                "between",
                (floor, ceiling),
                "an ascending range from 1 µs to 71 minutes",
            )),
        }
    }

    #[inline(always)]
    pub(crate) fn unpack(word: u64) -> Self {
        Self {
            floor: (word >> 32) as u32,
            ceiling: word as u32,
        }
    }

    pub(crate) fn pack(self) -> u64 {
        u64::from(self.floor) << 32 | u64::from(self.ceiling)
    }

    /// Returns the delay, if it is always the same.
    #[inline(always)]
    pub(crate) fn only(self) -> Option<u32> {
        (self.floor == self.ceiling).then_some(self.floor)
    }

    #[inline(always)]
    pub(crate) fn clamp(self, micros: u32) -> u32 {
        micros.clamp(self.floor, self.ceiling)
    }
}

/// Returns a delay in microseconds, rounded up. `None` if it is zero, or does not fit.
fn micros(delay: Duration) -> Option<u32> {
    match u32::try_from(delay.as_nanos().div_ceil(1000)) {
        Ok(0) | Err(_) => None,
        Ok(micros) => Some(micros),
    }
}
