use std::{num::NonZeroU16, time::Duration};

use crate::{
    InvalidSetting, OpenDuration, OpenWhen,
    invalid::{Problem, nanos},
    word::Word,
};

/// What can be changed while a breaker runs, see [`CircuitBreakerHandle::update`](crate::CircuitBreakerHandle::update).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CircuitBreakerOptions {
    pub(crate) open_when: OpenWhen,
    pub(crate) open_duration: OpenDuration,
    pub(crate) probes: NonZeroU16,
    pub(crate) probe_timeout: u64,
}

impl CircuitBreakerOptions {
    /// Says when the breaker opens; by default when half of the last 100 results are failures, once there are 20.
    #[must_use]
    pub fn open_when(self, open_when: OpenWhen) -> Self {
        Self { open_when, ..self }
    }

    /// Says how long an open breaker rejects calls before it lets probes through; 10 seconds by default.
    ///
    /// # Errors
    ///
    /// If `time` is zero, or does not fit in 64 bits of nanoseconds (584 years).
    pub fn open_for(self, time: Duration) -> Result<Self, InvalidSetting> {
        OpenDuration::new(time).map(|time| self.open_duration(time))
    }

    /// Says how long an open breaker rejects calls, where that time grows or has jitter.
    #[must_use]
    pub fn open_duration(self, open_duration: OpenDuration) -> Self {
        Self {
            open_duration,
            ..self
        }
    }

    /// Says how many probes must succeed to close a half-open breaker; no more than that are let through. 1 by default.
    ///
    /// # Errors
    ///
    /// If `probes` is not 1 to 1023.
    pub fn probes(self, probes: u16) -> Result<Self, InvalidSetting> {
        let problem = match NonZeroU16::new(probes) {
            None => Problem::Zero("number of probes"),
            Some(_) if probes > Word::MAX_PROBES => Problem::TooManyProbes(probes),
            Some(probes) => return Ok(Self { probes, ..self }),
        };
        Err(InvalidSetting(problem))
    }

    /// Says how long a probe may run before its place may be given to another call; 1 minute by default.
    ///
    /// A half-open breaker whose places are all taken gives the places of the probes that have not ended to the next calls, once it
    /// has let none through for this long. The results of those probes count no more, whenever they come. So a probe that never
    /// ends cannot keep a breaker half-open. Make it longer than a healthy call, or stream, takes.
    ///
    /// # Errors
    ///
    /// If `time` is zero, or does not fit in 64 bits of nanoseconds (584 years).
    pub fn probe_timeout(self, time: Duration) -> Result<Self, InvalidSetting> {
        let probe_timeout = nanos("probe timeout", time)?;
        Ok(Self {
            probe_timeout,
            ..self
        })
    }
}

impl Default for CircuitBreakerOptions {
    fn default() -> Self {
        Self {
            open_when: OpenWhen::default(),
            open_duration: OpenDuration::default(),
            probes: NonZeroU16::MIN,
            probe_timeout: 60_000_000_000,
        }
    }
}
