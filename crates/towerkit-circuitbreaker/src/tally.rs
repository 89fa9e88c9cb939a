use crate::word::Generation;

/// What a [`Window`](crate::window::Window) holds, in one word: the generation (29 bits), the next place (17), the failures (18).
///
/// The next place runs from 0 to the size of the window while the window fills, and from there to twice the size again and again,
/// so that it also tells a full window from one that is still filling. The failures stand uppermost and are signed: a thread that
/// is held up may leave them below 0 for a moment, and no carry reaches the other fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally(u64);

const PLACE: u32 = Generation::BITS;
const FAILURES: u32 = PLACE + 17;

impl Tally {
    pub(crate) fn empty(generation: Generation) -> Self {
        Self(u64::from(generation.number()))
    }

    #[inline]
    pub(crate) fn of(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn generation(self) -> Generation {
        Generation::of(self.0 as u32)
    }

    /// Returns how many results the window holds.
    pub(crate) fn results(self, size: u32) -> u32 {
        self.next_place().min(size)
    }

    pub(crate) fn failures(self) -> u32 {
        (self.0 as i64 >> FAILURES).max(0) as u32
    }

    /// Whether the window is full of successes, so that one more would change nothing.
    #[inline]
    pub(crate) fn is_spotless(self, size: u32) -> bool {
        self.0 >> FAILURES == 0 && self.next_place() >= size
    }

    /// Returns the index of the cell that the next result goes into.
    pub(crate) fn place(self, size: u32) -> usize {
        (self.next_place() % size) as usize
    }

    pub(crate) fn with_next_place(self, size: u32) -> Self {
        let next = match self.next_place() + 1 {
            end if end == 2 * size => size,
            next => next,
        };
        let kept = self.0 & !(u64::from(u16::MAX) << 1 << PLACE | 1 << PLACE);
        Self(kept | u64::from(next) << PLACE)
    }

    pub(crate) fn plus_failures(self, more: i32) -> Self {
        Self(self.0.wrapping_add((i64::from(more) << FAILURES) as u64))
    }

    #[inline]
    fn next_place(self) -> u32 {
        (self.0 >> PLACE) as u32 & ((1 << (FAILURES - PLACE)) - 1)
    }
}
