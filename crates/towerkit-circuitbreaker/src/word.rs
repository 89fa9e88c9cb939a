use crate::State;

/// Counts the states that a breaker has been in, and starts over after 2²⁹ of them.
///
/// A call keeps the generation that admitted it, and its result is worth nothing to another one.
/// To be mistaken, a result would have to arrive exactly 536 870 912 changes of state late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u32);

impl Generation {
    pub(crate) const BITS: u32 = 29;
    const MASK: u32 = (1 << Self::BITS) - 1;

    /// Takes the lowest 29 bits.
    #[inline]
    pub(crate) fn of(bits: u32) -> Self {
        Self(bits & Self::MASK)
    }

    #[inline]
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// Whether this generation came after `other`, the shorter way around.
    pub(crate) fn is_after(self, other: Self) -> bool {
        let distance = self.0.wrapping_sub(other.0) & Self::MASK;
        distance != 0 && distance < 1 << (Self::BITS - 1)
    }

    fn next(self) -> Self {
        Self::of(self.0 + 1)
    }
}

/// A state in one of its generations: all that a call holds of the breaker while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted(u32);

impl Admitted {
    /// The closed state in the first generation.
    pub(crate) const FIRST: Self = Self(0);

    /// Returns `state` in the next generation.
    pub(crate) fn followed_by(self, state: State) -> Self {
        let state = match state {
            State::Closed => 0,
            State::ForcedClosed => 1,
            State::Disabled => 2,
            State::HalfOpen => 3,
            State::Open => 4,
            State::ForcedOpen => 5,
        };
        Self(self.generation().next().0 | state << Generation::BITS)
    }

    #[inline]
    pub(crate) fn generation(self) -> Generation {
        Generation::of(self.0)
    }

    #[inline]
    pub(crate) fn state(self) -> State {
        match self.0 >> Generation::BITS {
            0 => State::Closed,
            1 => State::ForcedClosed,
            2 => State::Disabled,
            3 => State::HalfOpen,
            4 => State::Open,
            _ => State::ForcedOpen,
        }
    }
}

/// Everything that admission needs: state, generation, and how the probes stand.
///
/// One word, read whole and changed by compare-and-swap: 29 bits of generation, 3 of state, 16 of probes in flight and 16 of probes
/// that succeeded. Probes are counted in a half-open breaker only; elsewhere both counts are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

const IN_FLIGHT: u32 = 32;
const SUCCEEDED: u32 = 48;

impl Word {
    /// Starts a generation, without probes.
    pub(crate) fn entering(generation: Admitted) -> Self {
        Self(u64::from(generation.0))
    }

    #[inline]
    pub(crate) fn of(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// Returns what a call holds that is admitted now.
    #[inline]
    pub(crate) fn admitted(self) -> Admitted {
        Admitted(self.0 as u32)
    }

    #[inline]
    pub(crate) fn state(self) -> State {
        self.admitted().state()
    }

    #[inline]
    pub(crate) fn generation(self) -> Generation {
        self.admitted().generation()
    }

    pub(crate) fn in_flight(self) -> u16 {
        (self.0 >> IN_FLIGHT) as u16
    }

    pub(crate) fn succeeded(self) -> u16 {
        (self.0 >> SUCCEEDED) as u16
    }

    /// Adds a probe in flight, or returns `None` if `limit` probes are in flight or have succeeded.
    pub(crate) fn with_probe(self, limit: u16) -> Option<Self> {
        let taken = u32::from(self.in_flight()) + u32::from(self.succeeded());
        (taken < u32::from(limit)).then_some(Self(self.0 + (1 << IN_FLIGHT)))
    }

    /// Takes a probe out of flight; one that succeeded is counted.
    ///
    /// The caller holds a probe of this generation, so that one is in flight.
    pub(crate) fn without_probe(self, succeeded: bool) -> Self {
        Self(self.0 - (1 << IN_FLIGHT) + (u64::from(succeeded) << SUCCEEDED))
    }
}
