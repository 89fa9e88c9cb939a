use std::sync::OnceLock;

use crate::{
    counts::Counts,
    epoch::Epoch,
    sync::{AtomicU32, AtomicU64, Ordering},
    tally::Tally,
};

/// The last results of one epoch, in a ring that slides with every result; some of them are marked, as failed or as slow.
///
/// Nothing here locks. One compare-and-swap on the tally claims a place in the ring and moves both counts: the new result in, the
/// result that falls out of the window out. Results that are recorded one after the other are therefore counted exactly. Where a
/// thread is held up between its claim and its cell for a whole turn of the ring, the counts are off by that one result until it
/// goes on, and exact again afterwards: what a thread adds to the count of marks is, in the sum, what it changed in its cell.
///
/// Cells carry the number of their epoch, so that emptying the window is one store and a thread from before never writes into it.
pub(crate) struct CountWindow {
    tally: AtomicU64,
    /// How many results count. Changes after the tally has left the epoch that the old size was good for.
    size: AtomicU32,
    ring: OnceLock<Ring>,
}

/// Cells, and where they are too few for a window that has been made larger, more.
///
/// Rings stay, since another thread may still look at them. Each is at least twice as large as the one before, so that all of them
/// together take less than twice the cells of the last.
struct Ring {
    cells: Box<[AtomicU32]>,
    larger: OnceLock<Box<Ring>>,
}

impl CountWindow {
    /// The most results that a window can hold, so that twice as many places fit in 16 bits.
    pub(crate) const MAX: u16 = u16::MAX / 2;

    /// Makes a window without room for results; [`resize`](Self::resize) makes room.
    pub(crate) fn new() -> Self {
        Self {
            tally: AtomicU64::new(Tally::empty(Epoch::FIRST).bits()),
            size: AtomicU32::new(1),
            ring: OnceLock::new(),
        }
    }

    /// Whether the window of `epoch` is full of results without a mark, so that one more changes nothing.
    #[inline(always)]
    pub(crate) fn is_spotless(&self, epoch: Epoch) -> bool {
        // Acquire is not needed: nothing is read behind it.
        self.tally.load(Ordering::Relaxed) == Tally::spotless(epoch, self.size()).bits()
    }

    /// Counts one result of `epoch`; returns the counts to judge by, or `None` if that epoch is over.
    pub(crate) fn record(&self, epoch: Epoch, marked: bool) -> Option<Counts> {
        let mut tally = self.tally();
        while tally.epoch() == epoch {
            let size = self.size();
            // Out of reach only if the size has changed since, and with it the epoch.
            let place = self.ring(size)?.cells.get(tally.place(size))?;
            let leaving = mark_in(place.load(Ordering::Acquire), epoch);
            let claimed = tally.with_result(size, i16::from(marked) - leaving);
            match self.exchange(tally, claimed) {
                Ok(()) => {
                    let filled = self.fill(place, leaving, claimed, marked);
                    return filled.map(|tally| tally.counts(size));
                }
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

    /// Makes a window that is empty for `epoch` hold `size` results.
    pub(crate) fn resize(&self, size: u16, epoch: Epoch) {
        let mut ring = self.ring.get_or_init(|| Ring::new(size.into(), epoch));
        while ring.cells.len() < size.into() {
            let more = usize::from(size).max(2 * ring.cells.len());
            ring = ring.larger.get_or_init(|| Box::new(Ring::new(more, epoch)));
        }
        // What an old window left may be so old that its numbers have come round again.
        for place in &ring.cells[..size.into()] {
            place.store(cell(epoch, false), Ordering::Relaxed);
        }
        // Release pairs with the Acquire of `size`: who sees the size sees the ring and that the tally is empty.
        self.size.store(size.into(), Ordering::Release);
    }

    /// Returns the counts of `epoch`, which are 0 if it is over.
    pub(crate) fn counts(&self, epoch: Epoch) -> Counts {
        let tally = self.tally();
        if tally.epoch() == epoch {
            tally.counts(self.size())
        } else {
            Counts::default()
        }
    }

    /// Counts the marks of `epoch` the slow way.
    #[cfg(all(test, towerkit_loom))]
    pub(crate) fn marks_in_cells(&self, epoch: Epoch) -> u64 {
        let ring = self.ring(self.size()).expect("resized");
        let marks = ring
            .cells
            .iter()
            .map(|cell| mark_in(cell.load(Ordering::Acquire), epoch));
        marks.sum::<i16>() as u64
    }

    fn tally(&self) -> Tally {
        // Acquire: who claims a place sees the cells that were written before the tally came to stand here.
        Tally::of(self.tally.load(Ordering::Acquire))
    }

    #[inline(always)]
    fn size(&self) -> u16 {
        self.size.load(Ordering::Acquire) as u16
    }

    fn ring(&self, size: u16) -> Option<&Ring> {
        let mut ring = self.ring.get()?;
        while ring.cells.len() < size.into() {
            ring = ring.larger.get()?;
        }
        Some(ring)
    }

    /// Writes the claimed cell, and corrects the tally if the cell held something else than at the time of the claim.
    fn fill(&self, place: &AtomicU32, leaving: i16, claimed: Tally, marked: bool) -> Option<Tally> {
        let epoch = claimed.epoch();
        let new = cell(epoch, marked);
        let mut old = place.load(Ordering::Acquire);
        // No mark in place of none, the usual case, needs no write.
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
        match leaving - mark_in(old, epoch) {
            0 => Some(claimed),
            missed => self.correct(epoch, missed),
        }
    }

    #[cold]
    fn correct(&self, epoch: Epoch, marks: i16) -> Option<Tally> {
        let mut tally = self.tally();
        while tally.epoch() == epoch {
            let corrected = tally.with_marks(self.size(), marks);
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

impl Ring {
    fn new(size: usize, epoch: Epoch) -> Self {
        Self {
            cells: (0..size)
                .map(|_| AtomicU32::new(cell(epoch, false)))
                .collect(),
            larger: OnceLock::new(),
        }
    }
}

/// A cell of the ring: the number of its epoch and, in the lowest bit, whether the result was marked.
fn cell(epoch: Epoch, marked: bool) -> u32 {
    epoch.number() << 1 | u32::from(marked)
}

/// Returns 1 for a marked result of `epoch`, and 0 for any other or for what an older epoch left.
fn mark_in(cell: u32, epoch: Epoch) -> i16 {
    i16::from(cell == self::cell(epoch, true))
}
