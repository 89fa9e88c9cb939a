use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Admits a maximum number of traces in each second of a clock.
#[derive(Debug, Clone)]
pub(crate) struct RateSampler {
    max: u64,
    /// The current second, and the number of traces admitted in it.
    word: Arc<AtomicU64>,
}

impl RateSampler {
    pub(crate) fn new(max: NonZeroU32) -> Self {
        Self {
            max: u64::from(max.get()),
            word: Arc::default(),
        }
    }

    pub(crate) fn admits(&self, now: u64) -> bool {
        let second = (now / 1_000_000_000) << 32;
        let take = |word: u64| {
            // A clock that steps back stays in the latest second.
            let word = word.max(second);
            ((word & u64::from(u32::MAX)) < self.max).then_some(word + 1)
        };
        // Relaxed: the word guards no other data.
        let taken = self
            .word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_admits_up_to_the_limit() {
        let rate_sampler = RateSampler::new(NonZeroU32::new(3).unwrap());
        let admitted = |at: u64| (0..10).filter(|_| rate_sampler.admits(at)).count();
        assert_eq!(admitted(5_000_000_000), 3);
        assert_eq!(admitted(5_999_999_999), 0);
        assert_eq!(admitted(6_000_000_000), 3);
        assert_eq!(admitted(5_000_000_000), 0, "the clock stepped back");
        assert_eq!(admitted(u64::MAX), 3);
    }
}
