use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use towerkit_core::ConfigError;

/// Decides if a trace that begins here is sampled, before a span exists.
///
/// The decision depends on the random part of the trace id. Upstreams read it from the [`Flags`](crate::Flags) of the context, and follow
/// it. Clones decide alike, also after a [`set_ratio`](Self::set_ratio).
#[derive(Debug, Clone)]
pub struct Sampler(Arc<AtomicU64>);

impl Sampler {
    /// One more than the largest number that the random part of a trace id can be: its rightmost seven bytes (W3C trace context,
    /// level 2).
    const RANDOM: u64 = 1 << 56;

    /// Records all traces.
    #[must_use]
    pub fn always() -> Self {
        Self::of(Self::RANDOM)
    }

    /// Records no trace that begins here.
    #[must_use]
    pub fn never() -> Self {
        Self::of(0)
    }

    /// Records that share of the traces, from 0 to 1.
    ///
    /// # Errors
    ///
    /// If the share is not a number from 0 to 1.
    pub fn ratio(share: f64) -> Result<Self, ConfigError> {
        threshold(share).map(Self::of)
    }

    fn of(threshold: u64) -> Self {
        Self(Arc::new(AtomicU64::new(threshold)))
    }

    /// Records another share of the traces from now on, wherever this sampler is used.
    ///
    /// # Errors
    ///
    /// If the share is not a number from 0 to 1; the old one stays then.
    pub fn set_ratio(&self, share: f64) -> Result<(), ConfigError> {
        // Relaxed: the word guards no other data.
        self.0.store(threshold(share)?, Ordering::Relaxed);
        Ok(())
    }

    /// Returns true if a trace with this random part of its id is sampled.
    #[inline]
    pub(crate) fn samples(&self, random: u64) -> bool {
        random % Self::RANDOM < self.0.load(Ordering::Relaxed)
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self::always()
    }
}

fn threshold(share: f64) -> Result<u64, ConfigError> {
    if (0.0..=1.0).contains(&share) {
        // Exact for 1, and a rounding far below what can be counted elsewhere.
        Ok((share * Sampler::RANDOM as f64) as u64)
    } else {
        Err(ConfigError::new("ratio", share, "a number from 0 to 1"))
    }
}
