/// Everything that admission needs: the limit (32 bits), whether a call waits (1 bit) and the calls in flight (31 bits).
///
/// Read whole and changed by compare-and-swap, so that a call is admitted under the very limit that it was held against, and so that
/// a call that begins to wait and a call that ends cannot miss each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

const LIMIT: u32 = 32;

impl Word {
    /// The highest limit. More calls than that are never in flight, so that the count cannot reach the bit above it.
    pub(crate) const MAX: u32 = i32::MAX as u32;
    /// The bit that says that a call waits.
    pub(crate) const WAITING: u64 = 1 << 31;

    pub(crate) const fn new(limit: u32) -> Self {
        Self((limit as u64) << LIMIT)
    }

    #[inline(always)]
    pub(crate) const fn of(bits: u64) -> Self {
        Self(bits)
    }

    #[inline(always)]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(crate) const fn limit(self) -> u32 {
        (self.0 >> LIMIT) as u32
    }

    #[inline(always)]
    pub(crate) const fn in_flight(self) -> u32 {
        self.0 as u32 & Self::MAX
    }

    #[inline(always)]
    pub(crate) const fn is_waiting(self) -> bool {
        self.0 & Self::WAITING != 0
    }

    pub(crate) const fn with_limit(self, limit: u32) -> Self {
        Self(Self::new(limit).0 | self.0 as u32 as u64)
    }

    /// Adds a call in flight.
    #[inline(always)]
    pub(crate) const fn with_call(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_do_not_touch_each_other() {
        let word = Word::of(Word::new(Word::MAX).bits() | Word::WAITING | u64::from(Word::MAX));
        assert_eq!((word.limit(), word.in_flight()), (Word::MAX, Word::MAX));
        let word = word.with_limit(1);
        assert_eq!((word.limit(), word.in_flight()), (1, Word::MAX));
        assert!(word.is_waiting() && !Word::new(7).with_call().is_waiting());
        assert_eq!(Word::new(7).with_call().in_flight(), 1);
    }
}
