use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Admits so many in every second of a clock.
#[derive(Debug, Clone)]
pub(crate) struct Surge {
    most: u64,
    /// The second, and how many it has admitted.
    word: Arc<AtomicU64>,
}

impl Surge {
    pub(crate) fn new(most: NonZeroU32) -> Self {
        Self {
            most: u64::from(most.get()),
            word: Arc::default(),
        }
    }

    pub(crate) fn admits(&self, now: u64) -> bool {
        let second = (now / 1_000_000_000) << 32;
        let take = |word: u64| {
            // A clock that steps back goes on in the latest second.
            let word = word.max(second);
            ((word & u64::from(u32::MAX)) < self.most).then_some(word + 1)
        };
        // Relaxed: the word guards nothing but itself.
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
    fn every_second_admits_as_many_and_no_more() {
        let surge = Surge::new(NonZeroU32::new(3).unwrap());
        let admitted = |at: u64| (0..10).filter(|_| surge.admits(at)).count();
        assert_eq!(admitted(5_000_000_000), 3);
        assert_eq!(admitted(5_999_999_999), 0);
        assert_eq!(admitted(6_000_000_000), 3);
        assert_eq!(admitted(5_000_000_000), 0, "the clock stepped back");
        assert_eq!(admitted(u64::MAX), 3);
    }
}
