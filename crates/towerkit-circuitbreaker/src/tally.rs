use crate::{counts::Counts, epoch::Epoch};

/// What a [`CountWindow`](crate::count_window::CountWindow) holds, in one word: the epoch (32 bits), the next place (16), the marks (16).
///
/// The next place runs from 0 to the size of the window while the window fills, and from there to twice the size again and again,
/// so that it also tells a full window from one that is still filling. In a full window without a mark one place is as good as
/// another, and it is always the first: so there is one tally only that says so. The marks stand uppermost and are signed: a
/// thread that is held up may leave them below 0 for a moment, and no carry reaches the other fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally(u64);

const PLACE: u32 = 32;
const MARKS: u32 = 48;

impl Tally {
    pub(crate) fn empty(epoch: Epoch) -> Self {
        Self(u64::from(epoch.bits()))
    }

    /// The tally of a full window without a mark, which one more result without one does not change.
    #[inline(always)]
    pub(crate) fn spotless(epoch: Epoch, size: u16) -> Self {
        Self(u64::from(epoch.bits()) | u64::from(size) << PLACE)
    }

    #[inline(always)]
    pub(crate) fn of(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn epoch(self) -> Epoch {
        Epoch::of(self.0 as u32)
    }

    /// Returns what a window of `size` holds.
    pub(crate) fn counts(self, size: u16) -> Counts {
        Counts {
            results: self.next_place().min(size).into(),
            marked: self.signed_marks().max(0).unsigned_abs().into(),
        }
    }

    /// Returns the index of the cell that the next result goes into.
    pub(crate) fn place(self, size: u16) -> usize {
        let next = self.next_place();
        usize::from(next.checked_sub(size).unwrap_or(next))
    }

    /// Moves on by one place, and adds to the marks.
    pub(crate) fn with_result(self, size: u16, marks: i16) -> Self {
        let place = match self.next_place() + 1 {
            end if end == 2 * size => size,
            next => next,
        };
        Self::new(self.epoch(), size, place, self.signed_marks() + marks)
    }

    /// Adds to the marks.
    pub(crate) fn with_marks(self, size: u16, marks: i16) -> Self {
        let place = self.next_place();
        Self::new(self.epoch(), size, place, self.signed_marks() + marks)
    }

    fn new(epoch: Epoch, size: u16, place: u16, marks: i16) -> Self {
        if marks == 0 && place >= size {
            return Self::spotless(epoch, size);
        }
        let marks = u64::from(marks.cast_unsigned()) << MARKS;
        Self(u64::from(epoch.bits()) | u64::from(place) << PLACE | marks)
    }

    fn next_place(self) -> u16 {
        (self.0 >> PLACE) as u16
    }

    fn signed_marks(self) -> i16 {
        (self.0 >> MARKS) as i16
    }
}
