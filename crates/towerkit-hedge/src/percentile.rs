use std::time::Duration;

use towerkit_core::ConfigError;

/// A hedging delay that follows the latency of the upstream: a percentile of recent calls.
///
/// The percentile comes from a histogram with buckets of 1/16 relative width: it is never below the true percentile of the samples, and
/// exceeds it by less than 6.25 %, or 1 µs. It is computed 64 times per half of the window.
///
/// The samples are the latencies of the *first* attempts of hedgeable calls. An attempt with a response, or with an error that is the
/// caller's fault, counts with its latency. An attempt that failed, lost against a hedge or was dropped counts only if it had already
/// exceeded the delay, because the percentile depends on the number of slow attempts and not on their latency. So neither quick failures
/// nor callers that disconnect shorten the delay, and neither do slow attempts that lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentile {
    /// The quantile, in millionths.
    pub(crate) quantile: u32,
    pub(crate) minimum: u32,
    pub(crate) bounds: Bounds,
    /// Half of the window, in milliseconds.
    pub(crate) interval: u64,
}

impl Percentile {
    /// Makes a delay at a quantile of recent calls, for example 0.95; rounded to a millionth.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the quantile is not between 0 and 1.
    pub fn new(quantile: f64) -> Result<Self, ConfigError> {
        // The cast is exact within the range, which excludes NaN.
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
                interval: 30_000,
            }),
            _ => Err(ConfigError::new(
                "percentile",
                quantile,
                "a number between 0 and 1",
            )),
        }
    }

    /// Bounds the delay; 1 ms and 1 s by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if a bound is shorter than 1 µs or longer than 71 minutes, or if `floor` exceeds `ceiling`.
    pub fn between(self, floor: Duration, ceiling: Duration) -> Result<Self, ConfigError> {
        let bounds = Bounds::new(floor, ceiling)?;
        Ok(Self { bounds, ..self })
    }

    /// Sets the number of samples below which the delay is the ceiling; 100 by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the number is 0.
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

    /// Sets the time after which samples expire, at the earliest after half of it; 60 s by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the time is not from 1 s to 10 minutes.
    pub fn window(self, window: Duration) -> Result<Self, ConfigError> {
        let allowed = Duration::from_secs(1)..=Duration::from_secs(600);
        if !allowed.contains(&window) {
            return Err(ConfigError::new(
                "window",
                window,
                "a time from 1 s to 10 minutes",
            ));
        }
        // The cast is exact within the range.
        let interval = window.as_millis() as u64 / 2;
        Ok(Self { interval, ..self })
    }
}

/// The minimum and the maximum delay, in microseconds; equal for a fixed delay.
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

    /// Returns the delay if it is fixed.
    #[inline(always)]
    pub(crate) fn as_fixed(self) -> Option<u32> {
        (self.floor == self.ceiling).then_some(self.floor)
    }

    #[inline(always)]
    pub(crate) fn clamp(self, micros: u32) -> u32 {
        micros.clamp(self.floor, self.ceiling)
    }
}

/// Returns a delay in microseconds, rounded up; [`None`] if it is zero or out of range.
fn micros(delay: Duration) -> Option<u32> {
    match u32::try_from(delay.as_nanos().div_ceil(1000)) {
        Ok(0) | Err(_) => None,
        Ok(micros) => Some(micros),
    }
}
