use std::num::NonZeroU16;

use crate::{
    sync::{AtomicU32, AtomicU64, Ordering},
    tally::Tally,
    word::Generation,
};

/// The last results of one generation, in a ring that slides with every result.
///
/// Nothing here locks. One compare-and-swap on the tally claims a place in the ring and moves both counts: the new result in, the
/// result that falls out of the window out. Results that are recorded one after the other are therefore counted exactly. Where a
/// thread is held up between its claim and its cell for a whole turn of the ring, the counts are off by that one result until it
/// goes on, and exact again afterwards: what a thread adds to the count of failures is, in the sum, what it changed in its cell.
///
/// Cells carry their generation, so that emptying the window is one store and a thread from before can never write into it.
pub(crate) struct Window {
    tally: AtomicU64,
    cells: Box<[AtomicU32]>,
}

impl Window {
    pub(crate) fn new(results: NonZeroU16, generation: Generation) -> Self {
        Self {
            tally: AtomicU64::new(Tally::empty(generation).bits()),
            cells: (0..results.get())
                .map(|_| AtomicU32::new(cell(generation, false)))
                .collect(),
        }
    }

    /// Counts one result of `generation`; returns the counts to judge it by, or `None` where it changes nothing.
    #[inline]
    pub(crate) fn record(&self, generation: Generation, failed: bool) -> Option<Tally> {
        // Acquire, here and in the exchange: who claims a place sees the cells that were written before the tally came to stand here.
        let tally = Tally::of(self.tally.load(Ordering::Acquire));
        if tally.generation() != generation || (!failed && tally.is_spotless(self.size())) {
            return None;
        }
        self.slide(tally, generation, failed)
    }

    /// Empties the window for `generation`; what is recorded for another one from now on is ignored.
    pub(crate) fn reset(&self, generation: Generation) {
        // Release pairs with the Acquire of `record`.
        self.tally
            .swap(Tally::empty(generation).bits(), Ordering::AcqRel);
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally::of(self.tally.load(Ordering::Acquire))
    }

    pub(crate) fn size(&self) -> u32 {
        self.cells.len() as u32
    }

    /// Counts the failures of `generation` the slow way.
    #[cfg(all(test, towerkit_loom))]
    pub(crate) fn failures_in_cells(&self, generation: Generation) -> u32 {
        self.cells
            .iter()
            .map(|cell| failure_in(cell.load(Ordering::Acquire), generation) as u32)
            .sum()
    }

    fn slide(&self, mut tally: Tally, generation: Generation, failed: bool) -> Option<Tally> {
        loop {
            let place = &self.cells[tally.place(self.size())];
            let leaving = failure_in(place.load(Ordering::Acquire), generation);
            let claimed = tally
                .with_next_place(self.size())
                .plus_failures(i32::from(failed) - leaving);
            match self.exchange(tally, claimed) {
                Ok(()) => return self.fill(place, leaving, claimed, failed),
                Err(seen) => tally = seen,
            }
            if tally.generation() != generation {
                return None;
            }
        }
    }

    /// Writes the claimed cell, and corrects the tally if the cell held something else than at the time of the claim.
    fn fill(&self, place: &AtomicU32, leaving: i32, claimed: Tally, failed: bool) -> Option<Tally> {
        let generation = claimed.generation();
        let mut old = place.load(Ordering::Acquire);
        loop {
            if generation_of(old).is_after(generation) {
                return None;
            }
            // AcqRel: the next one round reads this cell, and a newer generation in it is found by the check above.
            match place.compare_exchange_weak(
                old,
                cell(generation, failed),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => break,
                Err(seen) => old = seen,
            }
        }
        match leaving - failure_in(old, generation) {
            0 => Some(claimed),
            missed => self.correct(generation, missed),
        }
    }

    #[cold]
    fn correct(&self, generation: Generation, by: i32) -> Option<Tally> {
        let mut tally = self.tally();
        loop {
            if tally.generation() != generation {
                return None;
            }
            let corrected = tally.plus_failures(by);
            match self.exchange(tally, corrected) {
                Ok(()) => return Some(corrected),
                Err(seen) => tally = seen,
            }
        }
    }

    fn exchange(&self, from: Tally, to: Tally) -> Result<(), Tally> {
        self.tally
            .compare_exchange_weak(from.bits(), to.bits(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Tally::of)
    }
}

/// A cell of the ring: its generation and, in the lowest bit, whether the result was a failure.
fn cell(generation: Generation, failed: bool) -> u32 {
    generation.number() << 1 | u32::from(failed)
}

fn generation_of(cell: u32) -> Generation {
    Generation::of(cell >> 1)
}

/// Returns 1 for a failure of `generation`, and 0 for a success or for what an older generation left.
fn failure_in(cell: u32, generation: Generation) -> i32 {
    i32::from(cell == self::cell(generation, true))
}
