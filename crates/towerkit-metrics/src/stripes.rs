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

/// Words of which each thread adds to its own copy, up to [`MOST`] copies; what they stand for is the sum.
///
/// A copy is made when its first thread comes, so that who has one thread has one copy. `T` is a [`Line`], or more of them.
#[derive(Debug)]
pub(crate) struct Stripes<T: ?Sized> {
    copies: Box<[OnceLock<Box<T>>]>,
}

/// Some words, which share no cache line with others.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Line([AtomicU64; WORDS]);

const WORDS: usize = 8;

/// The words of a copy, by their place.
pub(crate) trait Words {
    fn word(&self, place: usize) -> &AtomicU64;
}

impl Words for Line {
    #[inline(always)]
    fn word(&self, place: usize) -> &AtomicU64 {
        &self.0[place]
    }
}

impl Words for [Line] {
    #[inline(always)]
    fn word(&self, place: usize) -> &AtomicU64 {
        &self[place / WORDS].0[place % WORDS]
    }
}

/// Makes as many lines as so many words need.
pub(crate) fn lines(words: usize) -> Box<[Line]> {
    (0..words.div_ceil(WORDS))
        .map(|_| Line::default())
        .collect()
}

/// Copies are no more than this, or than the processors, rounded up to a power of two: threads that are more share them.
const MOST: usize = 8;

static COPIES: LazyLock<usize> = LazyLock::new(|| {
    let processors = available_parallelism().map_or(MOST, NonZeroUsize::get);
    processors.next_power_of_two().min(MOST)
});

thread_local! {
    /// Which copy this thread adds to, the same for all words: threads take turns as they come. None before the first time.
    static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl<T: ?Sized + Words> Stripes<T> {
    /// Makes the copy of this thread: who makes words will most likely use them, and then the next call allocates nothing.
    pub(crate) fn new(make: impl FnOnce() -> Box<T>) -> Self {
        let copies = (0..*COPIES).map(|_| OnceLock::new()).collect();
        let stripes = Self { copies };
        stripes.own(make);
        stripes
    }

    /// Returns the copy of this thread, made if it is the first time.
    #[inline(always)]
    pub(crate) fn own(&self, make: impl FnOnce() -> Box<T>) -> &T {
        match self.copies.get(INDEX.get()).and_then(OnceLock::get) {
            Some(copy) => copy,
            None => self.make(make),
        }
    }

    #[cold]
    #[inline(never)]
    fn make(&self, make: impl FnOnce() -> Box<T>) -> &T {
        if INDEX.get() == usize::MAX {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            INDEX.set(NEXT.fetch_add(1, Relaxed) % *COPIES);
        }
        self.copies[INDEX.get()].get_or_init(make)
    }

    /// Returns all copies that there are.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.copies
            .iter()
            .filter_map(OnceLock::get)
            .map(|copy| &**copy)
    }

    /// Returns the sum of a word over all copies.
    pub(crate) fn sum(&self, place: usize) -> u64 {
        let words = self.all().map(|copy| copy.word(place).load(Relaxed));
        words.fold(0, u64::wrapping_add)
    }
}
