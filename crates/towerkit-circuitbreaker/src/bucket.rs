use crate::{
    counts::Counts,
    head::{Tag, Tagged},
    sync::{AtomicU64, Ordering},
};

/// The results of a part of a window of time, in two words that carry the tag of the turn in which they were begun.
pub(crate) struct Bucket {
    results: AtomicU64,
    marked: AtomicU64,
}

impl Bucket {
    pub(crate) fn new() -> Self {
        Self {
            results: AtomicU64::new(0),
            marked: AtomicU64::new(0),
        }
    }

    /// Counts one result, and returns what the bucket holds with it; `None` if the bucket was cleared in another turn than `tag`.
    ///
    /// A bucket that is cleared halfway takes the result with it, so that the caller counts it again, elsewhere.
    #[inline(always)]
    pub(crate) fn add(&self, tag: Tag, marked: bool) -> Option<Counts> {
        add_one(&self.results, tag)?;
        let marked = if marked {
            add_one(&self.marked, tag)?
        } else {
            load(&self.marked).count_of(tag)?
        };
        // Read last, so that no mark is seen without its result.
        let results = load(&self.results).count_of(tag)?;
        Some(Counts { results, marked })
    }

    /// Returns what the bucket holds.
    pub(crate) fn counts(&self) -> Counts {
        let marked = load(&self.marked).count();
        let results = load(&self.results).count();
        Counts { results, marked }
    }

    /// Returns what the bucket holds, if it was filled in the turn `tag`.
    #[inline(always)]
    pub(crate) fn counts_of(&self, tag: Tag) -> Option<Counts> {
        Some(Counts {
            marked: load(&self.marked).count_of(tag)?,
            results: load(&self.results).count_of(tag)?,
        })
    }

    /// Makes the bucket hold `counts`, as one of the turn `tag`.
    pub(crate) fn fill(&self, tag: Tag, counts: Counts) {
        // Release: who finds the new tag also finds what was done before, such as that the head has moved on.
        let fill =
            |word: &AtomicU64, count| word.store(Tagged::new(tag, count).bits(), Ordering::Release);
        fill(&self.results, counts.results);
        fill(&self.marked, counts.marked);
    }
}

#[inline(always)]
fn load(word: &AtomicU64) -> Tagged {
    Tagged::of(word.load(Ordering::SeqCst))
}

/// Adds one to a count of the turn `tag`, and returns it.
///
/// SeqCst, as are the loads: of two threads, one of which counts a mark, one at least sees both results.
#[inline(always)]
fn add_one(word: &AtomicU64, tag: Tag) -> Option<u64> {
    let mut seen = load(word);
    loop {
        seen.count_of(tag)?;
        let next = seen.plus_one();
        match word.compare_exchange_weak(
            seen.bits(),
            next.bits(),
            Ordering::SeqCst,
            Ordering::SeqCst,
        ) {
            Ok(_) => return Some(next.count()),
            Err(other) => seen = Tagged::of(other),
        }
    }
}
