use crate::State;

/// A state and its number among all the states that the breaker has been in.
///
/// The result of a call is worth nothing in another epoch than the one that admitted it. The number has 29 bits and starts over: to be
/// mistaken, a result would have to arrive exactly 536 870 912 changes of state late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch(u32);

const NUMBER: u32 = (1 << 29) - 1;

impl Epoch {
    /// The closed state at the very beginning.
    pub(crate) const FIRST: Self = Self(0);

    /// An epoch in which nothing is counted.
    pub(crate) const UNCOUNTED: Self = Self::FIRST.followed_by(State::Disabled);

    #[inline(always)]
    pub(crate) const fn of(bits: u32) -> Self {
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

    /// Whether this is an epoch of the closed state.
    #[inline(always)]
    pub(crate) const fn is_closed(self) -> bool {
        self.0 <= NUMBER
    }

    /// Whether results count in this epoch.
    pub(crate) const fn counts(self) -> bool {
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

    /// Returns the next epoch, in `state`.
    pub(crate) const fn followed_by(self, state: State) -> Self {
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

    /// Whether epoch number `one` came after number `other`, the shorter way around.
    pub(crate) const fn is_after(one: u32, other: u32) -> bool {
        let distance = one.wrapping_sub(other) & NUMBER;
        distance != 0 && distance <= NUMBER / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_being_packed() {
        for state in [
            State::Closed,
            State::Open,
            State::HalfOpen,
            State::ForcedOpen,
            State::ForcedClosed,
            State::Disabled,
        ] {
            let epoch = Epoch::FIRST.followed_by(State::Disabled).followed_by(state);
            assert_eq!((epoch.state(), epoch.number()), (state, 2));
            assert_eq!(epoch.is_closed(), state == State::Closed);
        }
    }

    #[test]
    fn numbers_start_over_and_keep_their_order() {
        let last = Epoch::of(NUMBER).followed_by(State::Open);
        assert_eq!((last.state(), last.number()), (State::Open, 0));
        assert!(Epoch::is_after(0, NUMBER) && !Epoch::is_after(NUMBER, 0));
        assert!(Epoch::is_after(2, 1) && !Epoch::is_after(1, 2) && !Epoch::is_after(1, 1));
    }
}
