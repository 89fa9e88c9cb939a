use crate::epoch::Epoch;

/// Where a [`TimeWindow`](crate::time_window::TimeWindow) stands: its epoch (32 bits), the tag of its last turn (24), and the place of
/// the present bucket (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head(u64);

const TAG: u32 = 32;
const PLACE: u32 = 56;

impl Head {
    pub(crate) const FIRST: Self = Self(Epoch::FIRST.bits() as u64);

    #[inline(always)]
    pub(crate) fn of(bits: u64) -> Self {
        Self(bits)
    }

    #[inline(always)]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(crate) fn epoch(self) -> Epoch {
        Epoch::of(self.0 as u32)
    }

    #[inline(always)]
    pub(crate) fn tag(self) -> Tag {
        Tag((self.0 >> TAG) as u32 & Tag::ALL)
    }

    #[inline(always)]
    pub(crate) fn place(self) -> usize {
        (self.0 >> PLACE) as usize
    }

    /// Begins the next turn, at `place`.
    pub(crate) fn turned(self, place: usize, epoch: Epoch) -> Self {
        let tag = (self.tag().0 + 1) & Tag::ALL;
        Self((place as u64) << PLACE | u64::from(tag) << TAG | u64::from(epoch.bits()))
    }
}

/// The number of a turn.
///
/// It has 24 bits and starts over: to be mistaken, a thread would have to be held up in the middle of a result while the ring turns
/// exactly 16 777 216 times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag(u32);

impl Tag {
    const ALL: u32 = (1 << 24) - 1;
}

/// A count (40 bits) and the turn (24) that it was begun in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tagged(u64);

const COUNT: u32 = 40;

impl Tagged {
    const MAX: u64 = (1 << COUNT) - 1;

    /// A count of `count`, or of the most that fits.
    pub(crate) fn new(tag: Tag, count: u64) -> Self {
        Self(u64::from(tag.0) << COUNT | count.min(Self::MAX))
    }

    #[inline(always)]
    pub(crate) fn of(bits: u64) -> Self {
        Self(bits)
    }

    #[inline(always)]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(crate) fn count(self) -> u64 {
        self.0 & Self::MAX
    }

    /// Returns the count, if it is one of the turn `tag`.
    #[inline(always)]
    pub(crate) fn count_of(self, tag: Tag) -> Option<u64> {
        (self.0 >> COUNT == u64::from(tag.0)).then(|| self.count())
    }

    /// Adds one, or nothing where no more fits.
    #[inline(always)]
    pub(crate) fn plus_one(self) -> Self {
        Self(self.0 + u64::from(self.count() < Self::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_keeps_what_it_is_made_of() {
        let epoch = Epoch::of(u32::MAX);
        let mut head = Head::FIRST;
        for place in 0..20 {
            head = head.turned(place, epoch);
            assert_eq!((head.epoch(), head.place()), (epoch, place));
            assert_eq!(head.tag(), Tag(place as u32 + 1));
        }
    }

    #[test]
    fn tags_start_over_without_touching_the_rest() {
        let epoch = Epoch::FIRST;
        let last = Head(u64::from(Tag::ALL) << TAG).turned(19, epoch);
        assert_eq!(
            (last.tag(), last.place(), last.epoch()),
            (Tag(0), 19, epoch)
        );
    }

    #[test]
    fn a_count_that_is_full_stays_full_and_keeps_its_tag() {
        let tag = Tag(Tag::ALL);
        let full = Tagged::new(tag, u64::MAX);
        assert_eq!(full.plus_one(), full);
        assert_eq!(full.count_of(tag), Some(Tagged::MAX));
        assert_eq!(full.count_of(Tag(0)), None);
        assert_eq!(Tagged::new(tag, 7).plus_one().count_of(tag), Some(8));
    }
}
