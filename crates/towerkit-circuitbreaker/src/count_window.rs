use std::sync::OnceLock;

use crate::{
    generation::Generation,
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// The number of results in a window, and the number of those that are marked: as failed or as slow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) results: u64,
    pub(crate) marked: u64,
}

impl Counts {
    /// Returns the sum of both.
    #[inline(always)]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            results: self.results + other.results,
            marked: self.marked + other.marked,
        }
    }

    /// Returns true if there are `minimum` results and at least the share `rate` of them is marked.
    ///
    /// Counts have at most 26 bits, so that an [`f64`] distinguishes any two different quotients.
    #[inline(always)]
    pub(crate) fn reach(self, rate: f64, minimum: u32) -> bool {
        self.marked > 0
            && self.results >= minimum.into()
            && self.marked as f64 / self.results as f64 >= rate
    }
}

/// A sliding window over the last results of one [`Generation`], some of which are marked as failed or slow.
///
/// The window takes no lock. One compare-and-swap on the [`Counters`] claims a cell of the ring buffer and updates both counts: it
/// adds the new result and removes the result that leaves the window. Results recorded one after the other are counted exactly. If a
/// thread is suspended between its claim and its write to the cell while the ring wraps around, the counts are off by this one result
/// until the thread continues, and exact afterwards: each thread adds to the count of marks the change that it made to its cell.
///
/// A cell contains the number of its generation. So one store empties the window, and a thread of an earlier generation never
/// overwrites a cell of a later one.
pub(crate) struct CountWindow {
    counters: AtomicU64,
    /// The capacity in results. It changes only after the counters have left the generation that it was valid for.
    size: AtomicU32,
    ring: OnceLock<Ring>,
}

/// The cells, and a larger ring if these are too few for a window that was resized.
///
/// A ring is never freed, because another thread may still read it. Each ring is at least twice as large as the one before, so that all
/// rings together have less than twice the cells of the last.
struct Ring {
    cells: Box<[AtomicU32]>,
    larger: OnceLock<Box<Ring>>,
}

impl CountWindow {
    /// The largest capacity in results: twice as many indices fit into 16 bits.
    pub(crate) const MAX: u16 = u16::MAX / 2;

    /// Makes a window without cells; [`resize`](Self::resize) allocates them.
    pub(crate) fn new() -> Self {
        Self {
            counters: AtomicU64::new(Counters::empty(Generation::FIRST).bits()),
            size: AtomicU32::new(1),
            ring: OnceLock::new(),
        }
    }

    /// Returns true if the window is full of unmarked results of `generation`, so that one more does not change it.
    #[inline(always)]
    pub(crate) fn is_full_of_unmarked(&self, generation: Generation) -> bool {
        // Relaxed: no other memory is read based on this value.
        self.counters.load(Ordering::Relaxed)
            == Counters::full_of_unmarked(generation, self.size()).bits()
    }

    /// Records a result of `generation` and returns the counts to compare with the threshold; `None` if that generation is over.
    pub(crate) fn record(&self, generation: Generation, marked: bool) -> Option<Counts> {
        let mut counters = self.counters();
        while counters.generation() == generation {
            let size = self.size();
            // The index is out of bounds only if the size has changed in the meantime, and with it the generation.
            let cell = self.ring(size)?.cells.get(counters.index(size))?;
            let leaving = mark_in(cell.load(Ordering::Acquire), generation);
            let claimed = counters.with_result(size, i16::from(marked) - leaving);
            match self.exchange(counters, claimed) {
                Ok(()) => {
                    let written = self.write(cell, leaving, claimed, marked);
                    return written.map(|counters| counters.counts(size));
                }
                Err(seen) => counters = seen,
            }
        }
        None
    }

    /// Empties the window for `generation`; results of other generations do not count from now on.
    pub(crate) fn reset(&self, generation: Generation) {
        // Release pairs with the Acquire of `counters`.
        self.counters
            .swap(Counters::empty(generation).bits(), Ordering::AcqRel);
    }

    /// Sets the capacity of a window that is empty for `generation`.
    pub(crate) fn resize(&self, size: u16, generation: Generation) {
        let mut ring = self.ring.get_or_init(|| Ring::new(size.into(), generation));
        while ring.cells.len() < size.into() {
            let more = usize::from(size).max(2 * ring.cells.len());
            ring = ring
                .larger
                .get_or_init(|| Box::new(Ring::new(more, generation)));
        }
        // The numbers in old cells may be so old that they have wrapped around.
        for cell in &ring.cells[..size.into()] {
            cell.store(cell_of(generation, false), Ordering::Relaxed);
        }
        // Release pairs with the Acquire of `size`: a thread that sees the size sees the ring and the empty counters.
        self.size.store(size.into(), Ordering::Release);
    }

    /// Returns the counts of `generation`, which are 0 if it is over.
    pub(crate) fn counts(&self, generation: Generation) -> Counts {
        let counters = self.counters();
        if counters.generation() == generation {
            counters.counts(self.size())
        } else {
            Counts::default()
        }
    }

    /// Returns the number of marked cells of `generation`.
    #[cfg(all(test, towerkit_loom))]
    pub(crate) fn marked_cells(&self, generation: Generation) -> u64 {
        let ring = self.ring(self.size()).expect("resized");
        let marks = ring
            .cells
            .iter()
            .map(|cell| mark_in(cell.load(Ordering::Acquire), generation));
        marks.sum::<i16>() as u64
    }

    fn counters(&self) -> Counters {
        // Acquire: a thread that claims a cell sees the cells that were written before the counters reached it.
        Counters::from_bits(self.counters.load(Ordering::Acquire))
    }

    #[inline(always)]
    fn size(&self) -> u16 {
        self.size.load(Ordering::Acquire) as u16
    }

    /// Returns the smallest ring with `size` cells.
    fn ring(&self, size: u16) -> Option<&Ring> {
        let mut ring = self.ring.get()?;
        while ring.cells.len() < size.into() {
            ring = ring.larger.get()?;
        }
        Some(ring)
    }

    /// Writes the claimed cell. If its mark is not the `leaving` one, corrects the counters by the difference.
    ///
    /// Returns the counters with this result, or `None` if the generation is over.
    fn write(
        &self,
        cell: &AtomicU32,
        leaving: i16,
        claimed: Counters,
        marked: bool,
    ) -> Option<Counters> {
        let generation = claimed.generation();
        let new = cell_of(generation, marked);
        let mut old = cell.load(Ordering::Acquire);
        // An unmarked result in place of an unmarked one, the usual case, needs no write.
        while old != new {
            if Generation::is_after(old >> 1, generation.number()) {
                return None;
            }
            // AcqRel: the next thread that claims this cell reads it, and sees a later generation that was here before.
            match cell.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(seen) => old = seen,
            }
        }
        match leaving - mark_in(old, generation) {
            0 => Some(claimed),
            difference => self.correct(generation, difference),
        }
    }

    #[cold]
    fn correct(&self, generation: Generation, marks: i16) -> Option<Counters> {
        let mut counters = self.counters();
        while counters.generation() == generation {
            let corrected = counters.with_marks(self.size(), marks);
            match self.exchange(counters, corrected) {
                Ok(()) => return Some(corrected),
                Err(seen) => counters = seen,
            }
        }
        None
    }

    fn exchange(&self, from: Counters, to: Counters) -> Result<(), Counters> {
        self.counters
            .compare_exchange_weak(from.bits(), to.bits(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Counters::from_bits)
    }
}

impl Ring {
    fn new(size: usize, generation: Generation) -> Self {
        let empty = || AtomicU32::new(cell_of(generation, false));
        Self {
            cells: (0..size).map(|_| empty()).collect(),
            larger: OnceLock::new(),
        }
    }
}

/// Makes the content of a cell: the number of its generation and, in the lowest bit, the mark of the result.
fn cell_of(generation: Generation, marked: bool) -> u32 {
    generation.number() << 1 | u32::from(marked)
}

/// Returns 1 for a marked result of `generation`, and 0 for an unmarked one or a result of an earlier generation.
fn mark_in(cell: u32, generation: Generation) -> i16 {
    i16::from(cell == cell_of(generation, true))
}

/// The counts of a [`CountWindow`], packed into one atomic word.
///
/// | bits | content |
/// |---|---|
/// | 0..32 | the [`Generation`] |
/// | 32..48 | the next index |
/// | 48..64 | the number of marks, signed |
///
/// The next index runs from 0 to the size of the window while the window fills, and then from the size to twice the size again and
/// again, so that it also distinguishes a full window from one that is still filling. In a full window without marks all cells are
/// equal, and the index is always the size: so one single value stands for this state. The number of marks may be below 0
/// temporarily, while a thread is suspended; it has the uppermost bits, so that no carry reaches another field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counters(u64);

const INDEX: u32 = 32;
const MARKS: u32 = 48;

impl Counters {
    fn empty(generation: Generation) -> Self {
        Self(u64::from(generation.bits()))
    }

    /// Returns the counters of a full window without marks, which an unmarked result does not change.
    #[inline(always)]
    fn full_of_unmarked(generation: Generation, size: u16) -> Self {
        Self(u64::from(generation.bits()) | u64::from(size) << INDEX)
    }

    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    fn bits(self) -> u64 {
        self.0
    }

    fn generation(self) -> Generation {
        Generation::from_bits(self.0 as u32)
    }

    /// Returns the counts of a window of `size` results.
    fn counts(self, size: u16) -> Counts {
        Counts {
            results: self.next_index().min(size).into(),
            marked: self.marks().max(0).unsigned_abs().into(),
        }
    }

    /// Returns the index of the cell for the next result.
    fn index(self, size: u16) -> usize {
        let next = self.next_index();
        usize::from(next.checked_sub(size).unwrap_or(next))
    }

    /// Adds a result, and adds to the marks.
    fn with_result(self, size: u16, marks: i16) -> Self {
        let index = match self.next_index() + 1 {
            end if end == 2 * size => size,
            next => next,
        };
        Self::new(self.generation(), size, index, self.marks() + marks)
    }

    /// Adds to the marks.
    fn with_marks(self, size: u16, marks: i16) -> Self {
        let index = self.next_index();
        Self::new(self.generation(), size, index, self.marks() + marks)
    }

    fn new(generation: Generation, size: u16, index: u16, marks: i16) -> Self {
        if marks == 0 && index >= size {
            return Self::full_of_unmarked(generation, size);
        }
        let marks = u64::from(marks.cast_unsigned()) << MARKS;
        Self(u64::from(generation.bits()) | u64::from(index) << INDEX | marks)
    }

    fn next_index(self) -> u16 {
        (self.0 >> INDEX) as u16
    }

    fn marks(self) -> i16 {
        (self.0 >> MARKS) as i16
    }
}
