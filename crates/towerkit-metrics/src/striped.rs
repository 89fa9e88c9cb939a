//! Atomic cells with a copy per thread, so that threads do not contend for a cache line, as Java's `Striped64` does.

use std::{
    cell::Cell,
    num::NonZeroUsize,
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::available_parallelism,
};

/// Cells with up to [`MAX_COPIES`] copies. Each thread adds to its own copy, and the value is the sum of the copies.
///
/// A thread's first use creates its copy, so a program with one thread has one copy. `T` is a [`CacheLine`], or a slice of them.
#[derive(Debug)]
pub(crate) struct Striped<T: ?Sized> {
    copies: Box<[OnceLock<Box<T>>]>,
}

/// Cells that fill a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct CacheLine([AtomicU64; CELLS]);

const CELLS: usize = 8;

/// Access to the cells of a copy by their index.
pub(crate) trait Cells {
    fn cell(&self, place: usize) -> &AtomicU64;
}

impl Cells for CacheLine {
    #[inline(always)]
    fn cell(&self, place: usize) -> &AtomicU64 {
        &self.0[place]
    }
}

impl Cells for [CacheLine] {
    #[inline(always)]
    fn cell(&self, place: usize) -> &AtomicU64 {
        &self[place / CELLS].0[place % CELLS]
    }
}

/// Creates enough cache lines for this number of cells.
pub(crate) fn cache_lines(cells: usize) -> Box<[CacheLine]> {
    (0..cells.div_ceil(CELLS))
        .map(|_| CacheLine::default())
        .collect()
}

/// The maximum number of copies. There are as many as processors, rounded up to a power of two, and further threads share them.
const MAX_COPIES: usize = 8;

static COPIES: LazyLock<usize> = LazyLock::new(|| {
    let processors = available_parallelism().map_or(MAX_COPIES, NonZeroUsize::get);
    processors.next_power_of_two().min(MAX_COPIES)
});

thread_local! {
    /// The index of the copy of this thread, the same for all cells; threads get indexes in turn. [`usize::MAX`] before the first use.
    static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl<T: ?Sized + Cells> Striped<T> {
    /// Creates the cells, and the copy of this thread, which will most likely use them and must not allocate during the next call.
    pub(crate) fn new(make: impl FnOnce() -> Box<T>) -> Self {
        let copies = (0..*COPIES).map(|_| OnceLock::new()).collect();
        let striped = Self { copies };
        striped.local(make);
        striped
    }

    /// Returns the copy of this thread, and creates it at the first use.
    #[inline(always)]
    pub(crate) fn local(&self, make: impl FnOnce() -> Box<T>) -> &T {
        match self.copies.get(INDEX.get()).and_then(OnceLock::get) {
            Some(copy) => copy,
            None => self.create_local(make),
        }
    }

    #[cold]
    #[inline(never)]
    fn create_local(&self, make: impl FnOnce() -> Box<T>) -> &T {
        if INDEX.get() == usize::MAX {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            INDEX.set(NEXT.fetch_add(1, Relaxed) % *COPIES);
        }
        self.copies[INDEX.get()].get_or_init(make)
    }

    /// Returns the copies that exist.
    pub(crate) fn copies(&self) -> impl Iterator<Item = &T> {
        self.copies
            .iter()
            .filter_map(OnceLock::get)
            .map(|copy| &**copy)
    }

    /// Returns the sum of a cell over all copies.
    pub(crate) fn sum(&self, place: usize) -> u64 {
        let cells = self.copies().map(|copy| copy.cell(place).load(Relaxed));
        cells.fold(0, u64::wrapping_add)
    }
}
