use std::sync::{PoisonError, TryLockError};

use crate::{
    bucket::Bucket,
    counts::Counts,
    epoch::Epoch,
    head::Head,
    sync::{AtomicU64, Mutex, MutexGuard, Ordering},
};

/// How many buckets a window of time has; in a model as few as show everything.
const BUCKETS: usize = if cfg!(towerkit_loom) { 3 } else { 20 };

/// The results of one epoch in the last so much time; some of them are marked, as failed or as slow.
///
/// A result is counted in the bucket of the present. When that is over, one thread turns the ring: it clears the buckets whose time
/// has come, moves the head on, and adds up the buckets that stay. Nobody waits for it: who finds it at work counts in the bucket
/// that the head shows. So recording is one compare-and-swap, two for a marked result. Every word that it touches has the tag of a
/// turn: a bucket that was cleared takes no result from before, and a sum is never taken together with a bucket that is in it.
///
/// Results that are recorded one after the other are counted exactly. One that is recorded while another thread turns the ring may be
/// missing from the sum until the next turn, or, after a rest of a whole window, for good; it is not judged, since what it sees may
/// be forgotten. A reading of the clock from before the present bucket counts in that bucket.
pub(crate) struct TimeWindow {
    head: AtomicU64,
    /// When the time of the present bucket is over.
    ends: AtomicU64,
    /// The sum of all buckets but the present one.
    rest: Bucket,
    buckets: [Bucket; BUCKETS],
    turn: Mutex<Turn>,
}

/// What only the thread that turns the ring knows.
struct Turn {
    /// How long a bucket lasts.
    width: u64,
    /// The number of the present bucket since the origin of the clock, once there is one.
    number: Option<u64>,
}

impl TimeWindow {
    /// The shortest window, in nanoseconds: a bucket lasts one at least.
    pub(crate) const SHORTEST: u64 = BUCKETS as u64;

    pub(crate) fn new() -> Self {
        let turn = Turn {
            width: 1,
            number: None,
        };
        Self {
            head: AtomicU64::new(Head::FIRST.bits()),
            ends: AtomicU64::new(0),
            rest: Bucket::new(),
            buckets: std::array::from_fn(|_| Bucket::new()),
            turn: Mutex::new(turn),
        }
    }

    /// Counts one result of `epoch` at `now`; returns the counts to judge by, or `None` if that epoch is over.
    ///
    /// Also returns `None` while another thread turns the ring.
    #[inline(always)]
    pub(crate) fn record(&self, epoch: Epoch, marked: bool, now: u64) -> Option<Counts> {
        // Acquire, as for the head: who sees the new end sees the new sum.
        let is_turning = now >= self.ends.load(Ordering::Acquire) && !self.turn(now);
        loop {
            let head = self.head();
            if head.epoch() != epoch {
                return None;
            }
            // Where the bucket was cleared in the meantime, the head had moved on before.
            if let Some(here) = self.buckets[head.place()].add(head.tag(), marked) {
                let rest = self.rest.counts_of(head.tag())?;
                return (!is_turning).then(|| here.and(rest));
            }
        }
    }

    /// Returns the counts of `epoch` at `now`, which are 0 if it is over.
    pub(crate) fn counts(&self, epoch: Epoch, now: u64) -> Counts {
        let mut turn = self.lock();
        self.turn_to(&mut turn, now);
        if self.head().epoch() != epoch {
            return Counts::default();
        }
        self.sum(0..BUCKETS)
    }

    /// Empties the window for `epoch`; results of other epochs do not count from now on.
    pub(crate) fn reset(&self, epoch: Epoch) {
        let _turn = self.lock();
        self.advance(BUCKETS, epoch);
    }

    /// Makes an empty window last `nanos`.
    pub(crate) fn resize(&self, nanos: u64) {
        let mut turn = self.lock();
        turn.width = (nanos / BUCKETS as u64).max(1);
        turn.number = None;
        self.ends.store(0, Ordering::Release);
    }

    /// Goes on to the bucket of `now`, unless another thread is doing so.
    #[cold]
    #[inline(never)]
    fn turn(&self, now: u64) -> bool {
        let mut turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        self.turn_to(&mut turn, now);
        true
    }

    /// Goes on to the bucket of `now`.
    fn turn_to(&self, turn: &mut Turn, now: u64) {
        let number = now / turn.width;
        let passed = match turn.number {
            Some(present) if number <= present => return,
            Some(present) => usize::try_from(number - present).unwrap_or(BUCKETS),
            None => BUCKETS,
        };
        turn.number = Some(number);
        self.advance(passed, self.head().epoch());
        let ends = number.saturating_add(1).saturating_mul(turn.width);
        self.ends.store(ends, Ordering::Release);
    }

    /// Clears the buckets whose time has come, those of the last `passed`, and moves the head on.
    ///
    /// The old bucket is cleared last, if at all, so that a result that finds no place in it finds the head moved on.
    fn advance(&self, passed: usize, epoch: Epoch) {
        let old = self.head().place();
        let all = passed >= BUCKETS;
        let place = (old + if all { 1 } else { passed }) % BUCKETS;
        let head = self.head().turned(place, epoch);
        let clear =
            |place: usize| self.buckets[place % BUCKETS].fill(head.tag(), Counts::default());
        (old + 1..=old + passed.min(BUCKETS - 1)).for_each(clear);
        // Release pairs with the Acquire of `head`: who sees the head sees its bucket cleared.
        self.head.swap(head.bits(), Ordering::AcqRel);
        if all {
            clear(old);
        }
        let rest = self.sum(place + 1..place + BUCKETS);
        self.rest.fill(head.tag(), rest);
    }

    fn sum(&self, places: std::ops::Range<usize>) -> Counts {
        places
            .map(|place| self.buckets[place % BUCKETS].counts())
            .fold(Counts::default(), Counts::and)
    }

    #[inline(always)]
    fn head(&self) -> Head {
        Head::of(self.head.load(Ordering::Acquire))
    }

    fn lock(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
