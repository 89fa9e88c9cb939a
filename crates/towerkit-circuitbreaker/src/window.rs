use crate::{
    epoch::Epoch,
    sync::{AtomicU32, AtomicU64, Ordering},
    tally::Tally,
};

/// The last results of one epoch, in a ring that slides with every result.
///
/// Nothing here locks. One compare-and-swap on the tally claims a place in the ring and moves both counts: the new result in, the
/// result that falls out of the window out. Results that are recorded one after the other are therefore counted exactly. Where a
/// thread is held up between its claim and its cell for a whole turn of the ring, the counts are off by that one result until it
/// goes on, and exact again afterwards: what a thread adds to the count of failures is, in the sum, what it changed in its cell.
///
/// Cells carry the number of their epoch, so that emptying the window is one store and a thread from before never writes into it.
pub(crate) struct Window {
    tally: AtomicU64,
    cells: Box<[AtomicU32]>,
    size: u16,
}

impl Window {
    /// The most results that a window can hold, so that twice as many places fit in 16 bits.
    pub(crate) const MAX: u16 = u16::MAX / 2;

    pub(crate) fn new(size: u16, epoch: Epoch) -> Self {
        Self {
            tally: AtomicU64::new(Tally::empty(epoch).bits()),
            cells: (0..size)
                .map(|_| AtomicU32::new(cell(epoch, false)))
                .collect(),
            size,
        }
    }

    /// Whether the window of `epoch` is full of successes, so that one more changes nothing.
    #[inline]
    pub(crate) fn is_spotless(&self, epoch: Epoch) -> bool {
        self.tally() == Tally::spotless(epoch, self.size)
    }

    /// Counts one result of `epoch`; returns the counts to judge by, or `None` if that epoch is over.
    pub(crate) fn record(&self, epoch: Epoch, failed: bool) -> Option<Tally> {
        let mut tally = self.tally();
        while tally.epoch() == epoch {
            let place = &self.cells[tally.place(self.size)];
            let leaving = failure_in(place.load(Ordering::Acquire), epoch);
            let claimed = tally.with_result(self.size, i16::from(failed) - leaving);
            match self.exchange(tally, claimed) {
                Ok(()) => return self.fill(place, leaving, claimed, failed),
                Err(seen) => tally = seen,
            }
        }
        None
    }

    /// Empties the window for `epoch`; results of other epochs do not count from now on.
    pub(crate) fn reset(&self, epoch: Epoch) {
        // Release pairs with the Acquire of `tally`.
        self.tally
            .swap(Tally::empty(epoch).bits(), Ordering::AcqRel);
    }

    pub(crate) fn tally(&self) -> Tally {
        // Acquire: who claims a place sees the cells that were written before the tally came to stand here.
        Tally::of(self.tally.load(Ordering::Acquire))
    }

    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    /// Counts the failures of `epoch` the slow way.
    #[cfg(all(test, towerkit_loom))]
    pub(crate) fn failures_in_cells(&self, epoch: Epoch) -> i16 {
        self.cells
            .iter()
            .map(|cell| failure_in(cell.load(Ordering::Acquire), epoch))
            .sum()
    }

    /// Writes the claimed cell, and corrects the tally if the cell held something else than at the time of the claim.
    fn fill(&self, place: &AtomicU32, leaving: i16, claimed: Tally, failed: bool) -> Option<Tally> {
        let epoch = claimed.epoch();
        let new = cell(epoch, failed);
        let mut old = place.load(Ordering::Acquire);
        // A success in place of a success, the usual case, needs no write.
        while old != new {
            if Epoch::is_after(old >> 1, epoch.number()) {
                return None;
            }
            // AcqRel: the next one round reads this cell, and sees a newer epoch that was here before.
            match place.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(seen) => old = seen,
            }
        }
        match leaving - failure_in(old, epoch) {
            0 => Some(claimed),
            missed => self.correct(epoch, missed),
        }
    }

    #[cold]
    fn correct(&self, epoch: Epoch, failures: i16) -> Option<Tally> {
        let mut tally = self.tally();
        while tally.epoch() == epoch {
            let corrected = tally.with_failures(self.size, failures);
            match self.exchange(tally, corrected) {
                Ok(()) => return Some(corrected),
                Err(seen) => tally = seen,
            }
        }
        None
    }

    fn exchange(&self, from: Tally, to: Tally) -> Result<(), Tally> {
        self.tally
            .compare_exchange_weak(from.bits(), to.bits(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Tally::of)
    }
}

/// A cell of the ring: the number of its epoch and, in the lowest bit, whether the result was a failure.
fn cell(epoch: Epoch, failed: bool) -> u32 {
    epoch.number() << 1 | u32::from(failed)
}

/// Returns 1 for a failure of `epoch`, and 0 for a success or for what an older epoch left.
fn failure_in(cell: u32, epoch: Epoch) -> i16 {
    i16::from(cell == self::cell(epoch, true))
}
