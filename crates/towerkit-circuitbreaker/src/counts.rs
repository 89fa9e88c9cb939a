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
}
