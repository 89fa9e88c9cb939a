use crate::state::State;

/// A [state](State) together with its number in the sequence of all states of one breaker.
///
/// A result counts only in the generation that admitted its call, so that late results do not change a later state; the term is that
/// of [gobreaker](https://github.com/sony/gobreaker). The number has 29 bits and wraps around: a result would have to arrive exactly
/// 536 870 912 changes of state late to be mistaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u32);

const NUMBER: u32 = (1 << 29) - 1;

impl Generation {
    /// The closed state that a breaker starts in.
    pub(crate) const FIRST: Self = Self(0);

    /// A generation in which results do not count.
    pub(crate) const UNCOUNTED: Self = Self::FIRST.next(State::Disabled);

    #[inline(always)]
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    #[inline(always)]
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    #[inline(always)]
    pub(crate) const fn number(self) -> u32 {
        self.0 & NUMBER
    }

    /// Returns true if the state is [`State::Closed`].
    #[inline(always)]
    pub(crate) const fn is_closed(self) -> bool {
        self.0 <= NUMBER
    }

    /// Returns true if results count in this state.
    pub(crate) const fn counts_results(self) -> bool {
        matches!(
            self.state(),
            State::Closed | State::HalfOpen | State::ForcedClosed
        )
    }

    pub(crate) const fn state(self) -> State {
        match self.0 >> NUMBER.count_ones() {
            0 => State::Closed,
            1 => State::Open,
            2 => State::HalfOpen,
            3 => State::ForcedOpen,
            4 => State::ForcedClosed,
            _ => State::Disabled,
        }
    }

    /// Returns the next generation, in `state`.
    pub(crate) const fn next(self, state: State) -> Self {
        let state = match state {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
            State::ForcedOpen => 3,
            State::ForcedClosed => 4,
            State::Disabled => 5,
        };
        let number = (self.0 + 1) & NUMBER;
        Self(number | state << NUMBER.count_ones())
    }

    /// Returns true if the number `one` comes after the number `other`, in the direction of the shorter distance.
    pub(crate) const fn is_after(one: u32, other: u32) -> bool {
        let distance = one.wrapping_sub(other) & NUMBER;
        distance != 0 && distance <= NUMBER / 2
    }
}

/// The atomic word that admission reads and changes.
///
/// | bits | content |
/// |---|---|
/// | 0..32 | the [`Generation`] |
/// | 32..42 | the probes in flight |
/// | 42..52 | the probes that succeeded |
/// | 52..64 | the number of probes admitted in this generation, modulo 4096 |
///
/// The counts are 0 unless the breaker is [half-open](State::HalfOpen). The last one prevents the ABA problem: a word would return
/// to an earlier value only if exactly 4096 probes passed between a load and its compare-and-swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StateWord(u64);

const IN_FLIGHT: u32 = 32;
const SUCCEEDED: u32 = 42;
const ADMITTED: u32 = 52;

impl StateWord {
    /// The largest number of probes that can be in flight or have succeeded.
    pub(crate) const MAX_PROBES: u16 = (1 << 10) - 1;

    /// Starts a generation without probes.
    pub(crate) fn new(generation: Generation) -> Self {
        Self(u64::from(generation.bits()))
    }

    #[inline(always)]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(crate) fn generation(self) -> Generation {
        Generation::from_bits(self.0 as u32)
    }

    pub(crate) fn state(self) -> State {
        self.generation().state()
    }

    pub(crate) fn probes_in_flight(self) -> u16 {
        (self.0 >> IN_FLIGHT) as u16 & Self::MAX_PROBES
    }

    pub(crate) fn probes_succeeded(self) -> u16 {
        (self.0 >> SUCCEEDED) as u16 & Self::MAX_PROBES
    }

    /// Adds a probe in flight; returns `None` if `limit` probes are in flight or have succeeded.
    pub(crate) fn with_probe(self, limit: u16) -> Option<Self> {
        // The number of admitted probes has the uppermost bits, so that its overflow does not reach another field.
        let probe = (1 << IN_FLIGHT) + (1 << ADMITTED);
        (self.probes_in_flight() + self.probes_succeeded() < limit)
            .then_some(Self(self.0.wrapping_add(probe)))
    }

    /// Ends a probe in flight, and counts its success.
    ///
    /// The caller holds a probe of this generation, so that the count in flight is at least 1.
    pub(crate) fn without_probe(self, succeeded: bool) -> Self {
        Self(self.0 - (1 << IN_FLIGHT) + (u64::from(succeeded) << SUCCEEDED))
    }

    /// Starts `generation` with the probes that succeeded, and without those in flight.
    pub(crate) fn without_probes_in_flight(self, generation: Generation) -> Self {
        Self(u64::from(generation.bits()) | u64::from(self.probes_succeeded()) << SUCCEEDED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_restored_from_its_bits() {
        for state in [
            State::Closed,
            State::Open,
            State::HalfOpen,
            State::ForcedOpen,
            State::ForcedClosed,
            State::Disabled,
        ] {
            let generation = Generation::FIRST.next(State::Disabled).next(state);
            assert_eq!((generation.state(), generation.number()), (state, 2));
            assert_eq!(generation.is_closed(), state == State::Closed);
        }
    }

    #[test]
    fn numbers_wrap_around_and_stay_ordered() {
        let last = Generation::from_bits(NUMBER).next(State::Open);
        assert_eq!((last.state(), last.number()), (State::Open, 0));
        assert!(Generation::is_after(0, NUMBER) && !Generation::is_after(NUMBER, 0));
        assert!(
            Generation::is_after(2, 1)
                && !Generation::is_after(1, 2)
                && !Generation::is_after(1, 1)
        );
    }

    #[test]
    fn the_largest_number_of_probes_fits_into_its_field() {
        let generation = Generation::from_bits(u32::MAX);
        let mut word = StateWord::new(generation);
        for _ in 0..3 * StateWord::MAX_PROBES {
            word = word
                .with_probe(StateWord::MAX_PROBES)
                .unwrap()
                .without_probe(false);
        }
        for probes in 1..=StateWord::MAX_PROBES {
            word = word.with_probe(StateWord::MAX_PROBES).unwrap();
            let seen = (word.generation(), word.probes_in_flight());
            assert_eq!(seen, (generation, probes));
        }
        assert_eq!(word.with_probe(StateWord::MAX_PROBES), None);
        for probes in 1..=StateWord::MAX_PROBES {
            word = word.without_probe(true);
            let seen = (word.generation(), word.probes_succeeded());
            assert_eq!(seen, (generation, probes));
        }
        assert_eq!(word.probes_in_flight(), 0);
        let next = word.without_probes_in_flight(generation);
        assert_eq!(next.probes_succeeded(), StateWord::MAX_PROBES);
    }

    #[test]
    fn a_word_differs_after_a_probe_with_the_same_counts() {
        let word = StateWord::new(Generation::FIRST).with_probe(1).unwrap();
        let later = word.without_probe(false).with_probe(1).unwrap();
        let counts = (later.probes_in_flight(), later.probes_succeeded());
        assert_eq!(counts, (1, 0));
        assert_ne!(later, word);
    }
}
