use std::sync::{PoisonError, TryLockError};

use crate::{
    count_window::Counts,
    generation::Generation,
    sync::{AtomicU64, Mutex, MutexGuard, Ordering},
};

/// The number of buckets of a window; a loom model has the least that show everything.
const BUCKETS: usize = if cfg!(towerkit_loom) { 3 } else { 20 };

/// A sliding window over the results of one [`Generation`] in the last so much time, some of which are marked as failed or slow.
///
/// A result is counted in the current bucket, as in the rolling window of Hystrix. When the time of that bucket is over, one thread
/// rotates the ring: it clears the buckets whose time has come, moves the [`Cursor`] on and computes the sum of the buckets that
/// remain. Other threads do not wait for the rotation; they count in the bucket of the cursor meanwhile. So recording a result takes
/// one compare-and-swap, or two if it is marked. Each word has the [`Tag`] of a rotation: a bucket that was cleared accepts no result
/// of an earlier rotation, and a sum is never added to a bucket that it contains.
///
/// Results recorded one after the other are counted exactly. A result recorded during a rotation may be missing from the sum until the
/// next rotation, or for good after a pause of a whole window; its counts are not compared with the threshold, because they may
/// include results that are about to leave. A clock reading from before the current bucket counts in the current bucket.
pub(crate) struct TimeWindow {
    cursor: AtomicU64,
    /// The end of the current bucket.
    bucket_end: AtomicU64,
    /// The sum of all buckets but the current one.
    rest: Bucket,
    buckets: [Bucket; BUCKETS],
    rotation: Mutex<Rotation>,
}

/// The state of the thread that rotates the ring.
struct Rotation {
    /// The length of a bucket.
    width: u64,
    /// The number of the current bucket since the origin of the clock; `None` before the first result.
    number: Option<u64>,
}

impl TimeWindow {
    /// The shortest window in nanoseconds: each bucket is at least one nanosecond long.
    pub(crate) const MIN: u64 = BUCKETS as u64;

    pub(crate) fn new() -> Self {
        let rotation = Rotation {
            width: 1,
            number: None,
        };
        Self {
            cursor: AtomicU64::new(Cursor::FIRST.bits()),
            bucket_end: AtomicU64::new(0),
            rest: Bucket::new(),
            buckets: std::array::from_fn(|_| Bucket::new()),
            rotation: Mutex::new(rotation),
        }
    }

    /// Records a result of `generation` at `now` and returns the counts to compare with the threshold.
    ///
    /// Returns `None` if the generation is over, or while another thread rotates the ring.
    #[inline(always)]
    pub(crate) fn record(&self, generation: Generation, marked: bool, now: u64) -> Option<Counts> {
        // Acquire, as for the cursor: a thread that sees the new end sees the new sum.
        let is_rotating = now >= self.bucket_end.load(Ordering::Acquire) && !self.try_rotate(now);
        loop {
            let cursor = self.cursor();
            if cursor.generation() != generation {
                return None;
            }
            // If the bucket was cleared in the meantime, the cursor moved on before.
            let current = &self.buckets[cursor.index()];
            if let Some(current) = current.add(cursor.tag(), marked) {
                let rest = self.rest.counts_of(cursor.tag())?;
                return (!is_rotating).then(|| current.plus(rest));
            }
        }
    }

    /// Returns the counts of `generation` at `now`, which are 0 if it is over.
    pub(crate) fn counts(&self, generation: Generation, now: u64) -> Counts {
        let mut rotation = self.lock();
        self.rotate(&mut rotation, now);
        if self.cursor().generation() != generation {
            return Counts::default();
        }
        self.sum(0..BUCKETS)
    }

    /// Empties the window for `generation`; results of other generations do not count from now on.
    pub(crate) fn reset(&self, generation: Generation) {
        let _rotation = self.lock();
        self.advance(BUCKETS, generation);
    }

    /// Sets the length of an empty window, in nanoseconds.
    pub(crate) fn resize(&self, nanos: u64) {
        let mut rotation = self.lock();
        rotation.width = (nanos / BUCKETS as u64).max(1);
        rotation.number = None;
        self.bucket_end.store(0, Ordering::Release);
    }

    /// Rotates the ring to the bucket of `now`; returns false if another thread is doing so.
    #[cold]
    #[inline(never)]
    fn try_rotate(&self, now: u64) -> bool {
        let mut rotation = match self.rotation.try_lock() {
            Ok(rotation) => rotation,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        self.rotate(&mut rotation, now);
        true
    }

    /// Rotates the ring to the bucket of `now`.
    fn rotate(&self, rotation: &mut Rotation, now: u64) {
        let number = now / rotation.width;
        let passed = match rotation.number {
            Some(current) if number <= current => return,
            Some(current) => usize::try_from(number - current).unwrap_or(BUCKETS),
            None => BUCKETS,
        };
        rotation.number = Some(number);
        self.advance(passed, self.cursor().generation());
        let end = number.saturating_add(1).saturating_mul(rotation.width);
        self.bucket_end.store(end, Ordering::Release);
    }

    /// Clears the buckets of the last `passed` bucket times and moves the cursor on.
    ///
    /// The previous bucket is cleared last, if at all, so that a result which finds it cleared finds the cursor moved on.
    fn advance(&self, passed: usize, generation: Generation) {
        let old = self.cursor().index();
        let all = passed >= BUCKETS;
        let index = (old + if all { 1 } else { passed }) % BUCKETS;
        let cursor = self.cursor().next(index, generation);
        let clear =
            |index: usize| self.buckets[index % BUCKETS].set(cursor.tag(), Counts::default());
        (old + 1..=old + passed.min(BUCKETS - 1)).for_each(clear);
        // Release pairs with the Acquire of `cursor`: a thread that sees the cursor sees its bucket cleared.
        self.cursor.swap(cursor.bits(), Ordering::AcqRel);
        if all {
            clear(old);
        }
        let rest = self.sum(index + 1..index + BUCKETS);
        self.rest.set(cursor.tag(), rest);
    }

    fn sum(&self, indices: std::ops::Range<usize>) -> Counts {
        indices
            .map(|index| self.buckets[index % BUCKETS].counts())
            .fold(Counts::default(), Counts::plus)
    }

    #[inline(always)]
    fn cursor(&self) -> Cursor {
        Cursor::from_bits(self.cursor.load(Ordering::Acquire))
    }

    fn lock(&self) -> MutexGuard<'_, Rotation> {
        self.rotation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The results of one part of a [`TimeWindow`], in two words with the [`Tag`] of the rotation that cleared the bucket.
struct Bucket {
    results: AtomicU64,
    marked: AtomicU64,
}

impl Bucket {
    fn new() -> Self {
        Self {
            results: AtomicU64::new(0),
            marked: AtomicU64::new(0),
        }
    }

    /// Counts a result and returns the counts with it; `None` if the bucket was cleared in another rotation than `tag`.
    ///
    /// If the bucket is cleared halfway, the result is cleared with it, so that the caller counts it again in another bucket.
    #[inline(always)]
    fn add(&self, tag: Tag, marked: bool) -> Option<Counts> {
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

    fn counts(&self) -> Counts {
        let marked = load(&self.marked).count();
        let results = load(&self.results).count();
        Counts { results, marked }
    }

    /// Returns the counts, if they were set in the rotation `tag`.
    #[inline(always)]
    fn counts_of(&self, tag: Tag) -> Option<Counts> {
        Some(Counts {
            marked: load(&self.marked).count_of(tag)?,
            results: load(&self.results).count_of(tag)?,
        })
    }

    /// Sets the counts, in the rotation `tag`.
    fn set(&self, tag: Tag, counts: Counts) {
        // Release: a thread that sees the new tag sees earlier changes, such as the new cursor.
        let set = |word: &AtomicU64, count| {
            word.store(TaggedCount::new(tag, count).bits(), Ordering::Release);
        };
        set(&self.results, counts.results);
        set(&self.marked, counts.marked);
    }
}

#[inline(always)]
fn load(word: &AtomicU64) -> TaggedCount {
    TaggedCount::from_bits(word.load(Ordering::SeqCst))
}

/// Adds one to a count of the rotation `tag`, and returns the new count.
///
/// SeqCst, as for the loads: of two threads, at least one of which counts a mark, at least one sees both results.
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
            Err(other) => seen = TaggedCount::from_bits(other),
        }
    }
}

/// The position of a [`TimeWindow`], packed into one atomic word.
///
/// | bits | content |
/// |---|---|
/// | 0..32 | the [`Generation`] |
/// | 32..56 | the [`Tag`] of the last rotation |
/// | 56..64 | the index of the current bucket |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor(u64);

const TAG: u32 = 32;
const INDEX: u32 = 56;

impl Cursor {
    const FIRST: Self = Self(Generation::FIRST.bits() as u64);

    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        self.0
    }

    #[inline(always)]
    fn generation(self) -> Generation {
        Generation::from_bits(self.0 as u32)
    }

    #[inline(always)]
    fn tag(self) -> Tag {
        Tag((self.0 >> TAG) as u32 & Tag::MAX)
    }

    #[inline(always)]
    fn index(self) -> usize {
        (self.0 >> INDEX) as usize
    }

    /// Returns the cursor after the next rotation, at the bucket `index`.
    fn next(self, index: usize, generation: Generation) -> Self {
        let tag = (self.tag().0 + 1) & Tag::MAX;
        Self((index as u64) << INDEX | u64::from(tag) << TAG | u64::from(generation.bits()))
    }
}

/// The number of a rotation.
///
/// It has 24 bits and wraps around: a thread would have to be suspended while it records a result, during exactly 16 777 216
/// rotations, to mistake one for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag(u32);

impl Tag {
    const MAX: u32 = (1 << 24) - 1;
}

/// A count (40 bits) with the [`Tag`] of its rotation (24 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TaggedCount(u64);

const COUNT: u32 = 40;

impl TaggedCount {
    const MAX: u64 = (1 << COUNT) - 1;

    /// Tags a count, or the largest that fits.
    fn new(tag: Tag, count: u64) -> Self {
        Self(u64::from(tag.0) << COUNT | count.min(Self::MAX))
    }

    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        self.0
    }

    #[inline(always)]
    fn count(self) -> u64 {
        self.0 & Self::MAX
    }

    /// Returns the count, if it has this tag.
    #[inline(always)]
    fn count_of(self, tag: Tag) -> Option<u64> {
        (self.0 >> COUNT == u64::from(tag.0)).then(|| self.count())
    }

    /// Adds one, unless the count has its largest value.
    #[inline(always)]
    fn plus_one(self) -> Self {
        Self(self.0 + u64::from(self.count() < Self::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_returns_the_fields_it_was_made_of() {
        let generation = Generation::from_bits(u32::MAX);
        let mut cursor = Cursor::FIRST;
        for index in 0..20 {
            cursor = cursor.next(index, generation);
            assert_eq!((cursor.generation(), cursor.index()), (generation, index));
            assert_eq!(cursor.tag(), Tag(index as u32 + 1));
        }
    }

    #[test]
    fn tags_wrap_around_without_changing_other_fields() {
        let generation = Generation::FIRST;
        let last = Cursor(u64::from(Tag::MAX) << TAG).next(19, generation);
        let fields = (last.tag(), last.index(), last.generation());
        assert_eq!(fields, (Tag(0), 19, generation));
    }

    #[test]
    fn the_largest_count_stays_and_keeps_its_tag() {
        let tag = Tag(Tag::MAX);
        let full = TaggedCount::new(tag, u64::MAX);
        assert_eq!(full.plus_one(), full);
        assert_eq!(full.count_of(tag), Some(TaggedCount::MAX));
        assert_eq!(full.count_of(Tag(0)), None);
        let eight = TaggedCount::new(tag, 7).plus_one();
        assert_eq!(eight.count_of(tag), Some(8));
    }
}
