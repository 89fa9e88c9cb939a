use crate::{
    generation::Generation,
    sync::{AtomicU64, Ordering},
};

/// The number of buckets: more than are in use at a time, because a threshold spans at most [`SPAN`] buckets and one at either end.
const BUCKETS: usize = 16;
/// The number of buckets that the slow-call threshold is divided into.
const SPAN: u64 = 14;

/// The calls in flight by their start, to count those as slow that have run for longer than a threshold and have not ended.
///
/// A call is added to the bucket of its start and removed when it ends. A bucket expires when all of its calls have run for longer than
/// the threshold: the thread that finds it expired takes all of its calls in one step and counts them as slow. So a call that ends is
/// either still in its bucket or was counted, which one compare-and-swap on the word of the bucket decides; the word contains the
/// [`Generation`] and the lap of the bucket.
///
/// A call without a bucket is counted when it ends. That happens if it started so long before the latest clock reading that its bucket
/// has been reused, or if the bucket contains a million calls already.
pub(crate) struct InFlightCalls {
    /// The threshold in nanoseconds.
    after: AtomicU64,
    /// The length of a bucket.
    width: AtomicU64,
    /// The number of the first bucket that has not expired, counted from the origin of the clock.
    first: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// The content of a bucket, packed into one atomic word.
///
/// | bits | content |
/// |---|---|
/// | 0..32 | the [`Generation`], or [`FREE`] before the first use, or [`EXPIRED`] |
/// | 32..44 | the lap: the number of times that the ring of buckets was reused, modulo 4096 |
/// | 44..64 | the number of calls |
///
/// After a pause of about a multiple of 4096 laps, an old bucket may be mistaken for one that is in use or has expired: its calls are
/// then left out for a few laps, and counted when they end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket(u64);

const LAP: u32 = 32;
const CALLS: u32 = 44;
const FREE: u32 = u32::MAX - 1;
const EXPIRED: u32 = u32::MAX;

impl Bucket {
    const LAPS: u64 = 1 << (CALLS - LAP);
    const MAX_CALLS: u64 = (1 << (64 - CALLS)) - 1;

    fn new(generation: u32, number: u64, calls: u64) -> Self {
        let lap = (number / BUCKETS as u64) % Self::LAPS;
        Self(u64::from(generation) | lap << LAP | calls << CALLS)
    }

    fn generation(self) -> u32 {
        self.0 as u32
    }

    fn calls(self) -> u64 {
        self.0 >> CALLS
    }

    fn lap(self) -> u64 {
        (self.0 >> LAP) % Self::LAPS
    }

    /// Returns true if both have the same generation and lap, with any number of calls.
    fn is_same(self, other: Self) -> bool {
        self.0 << (64 - CALLS) == other.0 << (64 - CALLS)
    }

    /// Returns true if this is a bucket of one of the next laps after `other`, because other threads have moved on.
    ///
    /// At a larger distance this is the older one: any number of laps may have passed in a pause.
    fn is_after(self, other: Self) -> bool {
        let laps = self.lap().wrapping_sub(other.lap()) % Self::LAPS;
        self.generation() != FREE && (1..=8).contains(&laps)
    }

    fn plus(self, calls: i64) -> Self {
        Self(self.0.wrapping_add_signed(calls << CALLS))
    }
}

impl InFlightCalls {
    pub(crate) fn new() -> Self {
        Self {
            after: AtomicU64::new(u64::MAX),
            width: AtomicU64::new(u64::MAX),
            first: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(Bucket::new(FREE, 0, 0).0)),
        }
    }

    /// Removes all calls and sets another threshold. The generation changes with it, so that earlier calls do not count.
    pub(crate) fn reset(&self, after: u64) {
        self.after.store(after, Ordering::Relaxed);
        self.width
            .store(after.div_ceil(SPAN).max(1), Ordering::Relaxed);
        self.first.store(0, Ordering::Relaxed);
        for bucket in &self.buckets {
            bucket.store(Bucket::new(FREE, 0, 0).0, Ordering::Release);
        }
    }

    /// Adds a call of `generation`.
    ///
    /// Returns true if it has a bucket, and the number of calls of an expired bucket that it replaced, which are to be counted as slow.
    pub(crate) fn insert(&self, generation: Generation, started: u64) -> (bool, u64) {
        let number = self.number(started);
        let own = Bucket::new(generation.bits(), number, 0);
        let expired = Bucket::new(EXPIRED, number, 0);
        let word = self.word(number);
        let mut seen = load(word);
        loop {
            let is_own = seen.is_same(own);
            let is_full = is_own && seen.calls() == Bucket::MAX_CALLS;
            if is_full || seen.is_same(expired) || seen.is_after(own) {
                return (false, 0);
            }
            let (next, slow) = match seen.generation() == generation.bits() {
                _ if is_own => (seen.plus(1), 0),
                true => (own.plus(1), seen.calls()),
                // Calls of another generation no longer count.
                false => (own.plus(1), 0),
            };
            match exchange(word, seen, next) {
                Ok(()) => return (true, slow),
                Err(other) => seen = other,
            }
        }
    }

    /// Removes a call that has ended; returns false if it has been counted as slow.
    pub(crate) fn remove(&self, generation: Generation, started: u64) -> bool {
        let number = self.number(started);
        if number < self.first.load(Ordering::Acquire) {
            return false;
        }
        let own = Bucket::new(generation.bits(), number, 0);
        let word = self.word(number);
        let mut seen = load(word);
        while seen.is_same(own) && seen.calls() > 0 {
            match exchange(word, seen, seen.plus(-1)) {
                Ok(()) => return true,
                Err(other) => seen = other,
            }
        }
        false
    }

    /// Returns true if a bucket may have expired at `now`.
    #[inline(always)]
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.end(now) > self.first.load(Ordering::Relaxed)
    }

    /// Removes the calls of the buckets that have expired at `now`, and passes their numbers to `count`.
    pub(crate) fn expire(&self, now: u64, mut count: impl FnMut(Generation, u64)) {
        let end = self.end(now);
        let first = self.first.load(Ordering::Acquire);
        for number in first.max(end.saturating_sub(BUCKETS as u64))..end {
            let expired = Bucket::new(EXPIRED, number, 0);
            let word = self.word(number);
            let mut seen = load(word);
            // A bucket of a later lap has replaced the expired one and counted its calls.
            while !seen.is_same(expired) && !seen.is_after(expired) {
                match exchange(word, seen, expired) {
                    Ok(()) if seen.calls() > 0 => {
                        count(Generation::from_bits(seen.generation()), seen.calls());
                        break;
                    }
                    Ok(()) => break,
                    Err(other) => seen = other,
                }
            }
        }
        // Release pairs with the Acquire of `remove`: a call that finds its bucket expired by its number has been counted.
        self.first.fetch_max(end, Ordering::AcqRel);
    }

    /// Returns true if a bucket with calls of `generation` has expired at `now`.
    pub(crate) fn has_expired(&self, generation: Generation, now: u64) -> bool {
        let end = self.end(now);
        (end.saturating_sub(BUCKETS as u64)..end).any(|number| {
            let seen = load(self.word(number));
            seen.is_same(Bucket::new(generation.bits(), number, 0)) && seen.calls() > 0
        })
    }

    /// Returns the number of the first bucket that has not expired at `now`.
    ///
    /// The last call of a bucket starts a nanosecond before the next bucket, and is slow once it has run for longer than the threshold.
    fn end(&self, now: u64) -> u64 {
        let last = now.saturating_sub(self.after.load(Ordering::Relaxed));
        self.number(last)
    }

    fn number(&self, time: u64) -> u64 {
        time / self.width.load(Ordering::Relaxed)
    }

    fn word(&self, number: u64) -> &AtomicU64 {
        &self.buckets[number as usize % BUCKETS]
    }
}

fn load(word: &AtomicU64) -> Bucket {
    Bucket(word.load(Ordering::Acquire))
}

fn exchange(word: &AtomicU64, from: Bucket, to: Bucket) -> Result<(), Bucket> {
    // AcqRel: a thread that takes the calls of a bucket sees the state in which they were admitted.
    word.compare_exchange_weak(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
        .map(drop)
        .map_err(Bucket)
}
