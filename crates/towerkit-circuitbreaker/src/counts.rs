/// How many results a window holds, and how many of them are marked: as failed or as slow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) results: u64,
    pub(crate) marked: u64,
}

impl Counts {
    /// Returns what both hold together.
    #[inline(always)]
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            results: self.results + other.results,
            marked: self.marked + other.marked,
        }
    }

    /// Whether there are `minimum` results, and the share of the marked ones among them is at least `rate`.
    ///
    /// The counts are so small, up to 2²⁶, that an `f64` tells any two different quotients apart.
    #[inline(always)]
    pub(crate) fn reach(self, rate: f64, minimum: u32) -> bool {
        self.marked > 0
            && self.results >= minimum.into()
            && self.marked as f64 / self.results as f64 >= rate
    }
}
