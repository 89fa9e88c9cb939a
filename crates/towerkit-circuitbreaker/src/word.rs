use crate::{State, epoch::Epoch};

/// Everything that admission needs: the epoch (32 bits), the probes in flight (10), the probes that succeeded (10), and how many were
/// let through in this epoch (12, starting over).
///
/// Read whole and changed by compare-and-swap. Probes are counted in a half-open breaker only; elsewhere all counts are 0. The last
/// count keeps a word from coming back while a thread looks away: for that, 4096 probes would have to pass between a load and
/// the compare-and-swap behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

const IN_FLIGHT: u32 = 32;
const SUCCEEDED: u32 = 42;
const ISSUED: u32 = 52;

impl Word {
    /// The most probes that can be in flight and have succeeded.
    pub(crate) const MAX_PROBES: u16 = (1 << 10) - 1;

    /// Begins an epoch, without probes.
    pub(crate) fn entering(epoch: Epoch) -> Self {
        Self(u64::from(epoch.bits()))
    }

    #[inline(always)]
    pub(crate) fn of(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(crate) fn epoch(self) -> Epoch {
        Epoch::of(self.0 as u32)
    }

    pub(crate) fn state(self) -> State {
        self.epoch().state()
    }

    pub(crate) fn in_flight(self) -> u16 {
        (self.0 >> IN_FLIGHT) as u16 & Self::MAX_PROBES
    }

    pub(crate) fn succeeded(self) -> u16 {
        (self.0 >> SUCCEEDED) as u16 & Self::MAX_PROBES
    }

    /// Adds a probe in flight, or returns `None` if `limit` probes are in flight or have succeeded.
    pub(crate) fn with_probe(self, limit: u16) -> Option<Self> {
        // What is issued stands uppermost, and starts over without touching the rest.
        let probe = (1 << IN_FLIGHT) + (1 << ISSUED);
        (self.in_flight() + self.succeeded() < limit).then_some(Self(self.0.wrapping_add(probe)))
    }

    /// Takes a probe out of flight; one that succeeded is counted.
    ///
    /// The caller holds a probe of this epoch, so that one is in flight.
    pub(crate) fn without_probe(self, succeeded: bool) -> Self {
        Self(self.0 - (1 << IN_FLIGHT) + (u64::from(succeeded) << SUCCEEDED))
    }

    /// Begins an epoch with the probes that have succeeded, and without those in flight.
    pub(crate) fn reclaimed(self, epoch: Epoch) -> Self {
        Self(u64::from(epoch.bits()) | u64::from(self.succeeded()) << SUCCEEDED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_probes_fit_and_touch_nothing_else() {
        let epoch = Epoch::of(u32::MAX);
        let mut word = Word::entering(epoch);
        for _ in 0..3 * Word::MAX_PROBES {
            word = word
                .with_probe(Word::MAX_PROBES)
                .unwrap()
                .without_probe(false);
        }
        for probes in 1..=Word::MAX_PROBES {
            word = word.with_probe(Word::MAX_PROBES).unwrap();
            assert_eq!((word.epoch(), word.in_flight()), (epoch, probes));
        }
        assert_eq!(word.with_probe(Word::MAX_PROBES), None);
        for probes in 1..=Word::MAX_PROBES {
            word = word.without_probe(true);
            assert_eq!((word.epoch(), word.succeeded()), (epoch, probes));
        }
        assert_eq!(word.in_flight(), 0);
        assert_eq!(word.reclaimed(epoch).succeeded(), Word::MAX_PROBES);
    }

    #[test]
    fn a_word_does_not_come_back_with_its_counts() {
        let word = Word::entering(Epoch::FIRST).with_probe(1).unwrap();
        let later = word.without_probe(false).with_probe(1).unwrap();
        assert_eq!((later.in_flight(), later.succeeded()), (1, 0));
        assert_ne!(later, word);
    }
}
