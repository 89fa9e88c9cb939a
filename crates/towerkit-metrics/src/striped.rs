//! Words that many threads add to, spread so that no two of them wait for one cache line.

use std::{
    cell::Cell,
    num::NonZeroUsize,
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::available_parallelism,
};

/// Words of which each thread adds to its own copy, up to [`MAX_COPIES`] copies; what they stand for is the sum.
///
/// A copy is made when its first thread comes, so that who has one thread has one copy. `T` is a [`CacheLine`], or more of them.
#[derive(Debug)]
pub(crate) struct Striped<T: ?Sized> {
    copies: Box<[OnceLock<Box<T>>]>,
}

/// Some words, which share no cache line with others.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct CacheLine([AtomicU64; CELLS]);

const CELLS: usize = 8;

/// The words of a copy, by their place.
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

/// Makes as many lines as so many words need.
pub(crate) fn cache_lines(cells: usize) -> Box<[CacheLine]> {
    (0..cells.div_ceil(CELLS))
        .map(|_| CacheLine::default())
        .collect()
}

/// Copies are no more than this, or than the processors, rounded up to a power of two: threads that are more share them.
const MAX_COPIES: usize = 8;

static COPIES: LazyLock<usize> = LazyLock::new(|| {
    let processors = available_parallelism().map_or(MAX_COPIES, NonZeroUsize::get);
    processors.next_power_of_two().min(MAX_COPIES)
});

thread_local! {
    /// Which copy this thread adds to, the same for all words: threads take turns as they come. None before the first time.
    static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl<T: ?Sized + Cells> Striped<T> {
    /// Makes the copy of this thread: who makes words will most likely use them, and then the next call allocates nothing.
    pub(crate) fn new(make: impl FnOnce() -> Box<T>) -> Self {
        let copies = (0..*COPIES).map(|_| OnceLock::new()).collect();
        let striped = Self { copies };
        striped.local(make);
        striped
    }

    /// Returns the copy of this thread, made if it is the first time.
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

    /// Returns all copies that there are.
    pub(crate) fn copies(&self) -> impl Iterator<Item = &T> {
        self.copies
            .iter()
            .filter_map(OnceLock::get)
            .map(|copy| &**copy)
    }

    /// Returns the sum of a word over all copies.
    pub(crate) fn sum(&self, place: usize) -> u64 {
        let cells = self.copies().map(|copy| copy.cell(place).load(Relaxed));
        cells.fold(0, u64::wrapping_add)
    }
}
