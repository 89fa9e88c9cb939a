use crate::{
    epoch::Epoch,
    sync::{AtomicU64, Ordering},
};

/// How many buckets there are: more than can be in use, since a threshold spans at most [`SPAN`] and a bucket at either end.
const BUCKETS: usize = 16;
/// Into how many buckets the threshold is divided.
const SPAN: u64 = 14;

/// The calls in flight, by when they started, of which those that hang are counted as slow.
///
/// A call is one more in the bucket of its start, and one less when it leaves. A bucket all of whose calls have run for too long
/// expires: whoever finds that out takes what is in it, in one step, and counts it. So a call is either still in its bucket when it
/// leaves, or was counted: each is found out by one compare-and-swap on the word of the bucket, which carries its epoch and its turn.
///
/// A call that finds no place is left out, and judged when it ends: it started so long before the latest reading of the clock that
/// its bucket is gone, or a million calls are in it already.
pub(crate) struct InFlight {
    /// After how long a call hangs.
    after: AtomicU64,
    /// How long a bucket lasts.
    width: AtomicU64,
    /// The number of the first bucket that has not expired, counted from the origin of the clock.
    first: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// What is in a bucket: its epoch (32 bits), its turn (12) and the calls in it (20).
///
/// The turn starts over. After a rest of a multiple of 4096 turns, give or take a few, a bucket may so be taken for one that is in use
/// or has expired: its calls are left out for a few turns, and judged when they end. In the place of an epoch stands [`FREE`] before a
/// bucket was used, and [`EXPIRED`] afterwards; no breaker is in such an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket(u64);

const TURN: u32 = 32;
const CALLS: u32 = 44;
const FREE: u32 = u32::MAX - 1;
const EXPIRED: u32 = u32::MAX;

impl Bucket {
    const TURNS: u64 = 1 << (CALLS - TURN);
    const MOST: u64 = (1 << (64 - CALLS)) - 1;

    fn new(epoch: u32, number: u64, calls: u64) -> Self {
        let turn = (number / BUCKETS as u64) % Self::TURNS;
        Self(u64::from(epoch) | turn << TURN | calls << CALLS)
    }

    fn epoch(self) -> u32 {
        self.0 as u32
    }

    fn calls(self) -> u64 {
        self.0 >> CALLS
    }

    fn turn(self) -> u64 {
        (self.0 >> TURN) % Self::TURNS
    }

    /// Whether this is the same bucket as `other`, with as many calls or others.
    fn is_as(self, other: Self) -> bool {
        self.0 << (64 - CALLS) == other.0 << (64 - CALLS)
    }

    /// Whether this is a bucket of one of the next turns after `other`: other threads have moved on.
    ///
    /// After a rest any number of turns may lie between the two, and this is the older one, however it looks.
    fn is_after(self, other: Self) -> bool {
        let turns = self.turn().wrapping_sub(other.turn()) % Self::TURNS;
        self.epoch() != FREE && (1..=8).contains(&turns)
    }

    fn plus(self, calls: i64) -> Self {
        Self(self.0.wrapping_add_signed(calls << CALLS))
    }
}

impl InFlight {
    pub(crate) fn new() -> Self {
        Self {
            after: AtomicU64::new(u64::MAX),
            width: AtomicU64::new(u64::MAX),
            first: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(Bucket::new(FREE, 0, 0).0)),
        }
    }

    /// Begins anew, without calls and with another threshold. The epoch changes with it, so that calls from before do not count.
    pub(crate) fn restart(&self, after: u64) {
        self.after.store(after, Ordering::Relaxed);
        self.width
            .store(after.div_ceil(SPAN).max(1), Ordering::Relaxed);
        self.first.store(0, Ordering::Relaxed);
        for bucket in &self.buckets {
            bucket.store(Bucket::new(FREE, 0, 0).0, Ordering::Release);
        }
    }

    /// Puts a call of `epoch` in flight. Returns whether it has a place, and the calls of that epoch that hung in the same place before.
    pub(crate) fn enter(&self, epoch: Epoch, started: u64) -> (bool, u64) {
        let number = self.number(started);
        let mine = Bucket::new(epoch.bits(), number, 0);
        let expired = Bucket::new(EXPIRED, number, 0);
        let word = self.word(number);
        let mut seen = load(word);
        loop {
            let is_mine = seen.is_as(mine);
            let is_full = is_mine && seen.calls() == Bucket::MOST;
            if is_full || seen.is_as(expired) || seen.is_after(mine) {
                return (false, 0);
            }
            let (next, hung) = match seen.epoch() == epoch.bits() {
                _ if is_mine => (seen.plus(1), 0),
                true => (mine.plus(1), seen.calls()),
                // Calls of another epoch do not count any more.
                false => (mine.plus(1), 0),
            };
            match exchange(word, seen, next) {
                Ok(()) => return (true, hung),
                Err(other) => seen = other,
            }
        }
    }

    /// Takes a call out of flight, unless it was counted as one that hangs.
    pub(crate) fn leave(&self, epoch: Epoch, started: u64) -> bool {
        let number = self.number(started);
        if number < self.first.load(Ordering::Acquire) {
            return false;
        }
        let mine = Bucket::new(epoch.bits(), number, 0);
        let word = self.word(number);
        let mut seen = load(word);
        while seen.is_as(mine) && seen.calls() > 0 {
            match exchange(word, seen, seen.plus(-1)) {
                Ok(()) => return true,
                Err(other) => seen = other,
            }
        }
        false
    }

    /// Whether calls may hang at `now` that were not counted yet.
    #[inline(always)]
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.end(now) > self.first.load(Ordering::Relaxed)
    }

    /// Takes the calls out of flight that hang at `now`, and hands them on to be counted, by epoch.
    pub(crate) fn expire(&self, now: u64, mut count: impl FnMut(Epoch, u64)) {
        let end = self.end(now);
        let first = self.first.load(Ordering::Acquire);
        for number in first.max(end.saturating_sub(BUCKETS as u64))..end {
            let expired = Bucket::new(EXPIRED, number, 0);
            let word = self.word(number);
            let mut seen = load(word);
            // A bucket of a later turn has done this.
            while !seen.is_as(expired) && !seen.is_after(expired) {
                match exchange(word, seen, expired) {
                    Ok(()) if seen.calls() > 0 => {
                        count(Epoch::of(seen.epoch()), seen.calls());
                        break;
                    }
                    Ok(()) => break,
                    Err(other) => seen = other,
                }
            }
        }
        // Release pairs with the Acquire of `leave`: who finds its bucket gone by its number, finds it counted.
        self.first.fetch_max(end, Ordering::AcqRel);
    }

    /// Whether calls of `epoch` hang at `now` that were not counted yet.
    pub(crate) fn hang(&self, epoch: Epoch, now: u64) -> bool {
        let end = self.end(now);
        (end.saturating_sub(BUCKETS as u64)..end).any(|number| {
            let seen = load(self.word(number));
            seen.is_as(Bucket::new(epoch.bits(), number, 0)) && seen.calls() > 0
        })
    }

    /// The number of the first bucket some calls of which may not hang at `now`.
    ///
    /// The last call of a bucket starts a nanosecond before the next bucket, and hangs when it has run for longer than it may.
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
    // AcqRel: whoever takes the calls of a bucket sees what they were admitted with.
    word.compare_exchange_weak(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
        .map(drop)
        .map_err(Bucket)
}
