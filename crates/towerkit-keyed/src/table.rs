use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
};

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

/// The slots of a line. A loom model has one.
const SLOTS: usize = if cfg!(towerkit_loom) { 1 } else { 4 };

/// The lines of a set, which are adjacent in memory.
const LINES: usize = if cfg!(towerkit_loom) { 1 } else { 2 };

/// A key prefers its first set while that has more than this many vacant slots.
const FEW: usize = SLOTS * LINES / 4;

/// The locks for claims. All claims of one key take the same lock.
const LOCKS: usize = if cfg!(towerkit_loom) { 2 } else { 64 };

/// A value of a [`KeyTable`], which decides when its slot may be given to another key.
///
/// The value is shared between threads and changes through atomics or locks. When a slot changes hands, the table calls
/// [`idle_mark`](Self::idle_mark), [`retire`](Self::retire), replaces the key, and calls [`set`](Self::set). Between `retire` and
/// `set` the value must be of no use to a caller that still holds an [`Entry`].
pub trait SlotValue: Default {
    /// The state that a slot starts with when it is given to a key.
    type Initial;

    /// Returns a mark of the present state if the slot may be given to another key at the time `now`, in nanoseconds.
    ///
    /// Of several such slots the one with the smallest mark is taken. `is_owned` is false if the slot has never had a key.
    fn idle_mark(&self, now: u64, is_owned: bool) -> Option<u64>;

    /// Ends the use by the present key if the value is still in the state of `mark`, and returns true if so.
    fn retire(&self, mark: u64) -> bool;

    /// Starts the use by a new key.
    fn set(&self, initial: Self::Initial);
}

/// Values by key, in memory of a fixed size, with lock-free look-up.
///
/// A key is known by its tag, 64 bits that the table does not interpret except that they are evenly distributed and not 0; see
/// [`KeyHasher`]. The lowest four bits are free for the caller, for example for a class of keys.
///
/// The table is set-associative, like a CPU cache, with two choices for each key (Azar, Broder, Karlin, Upfal, "Balanced
/// Allocations", 1994). A tag may be in either of two sets of two lines with four slots each, and prefers one slot. Most keys are in
/// the slot they prefer, so that a look-up reads one cache line and compares one tag; the others are found by comparing the four tags
/// of a line without a branch between them. A slot is given to another key only if its [value](SlotValue::idle_mark) permits it.
///
/// The look-up of a key takes no lock: the caller reads the value, checks that the [entry is current](Entry::is_current), and
/// exchanges the value it read. A new key takes one of 64 locks.
pub struct KeyTable<V> {
    lines: Box<[Line<V>]>,
    claim_locks: Box<[Mutex<()>]>,
    evicted_at: AtomicU64,
    keys: AtomicU64,
    evicted: AtomicU64,
}

/// A cache line, if a value has 8 bytes.
#[repr(align(64))]
struct Line<V>([Slot<V>; SLOTS]);

struct Slot<V> {
    /// The tag of the key; 0 before the first key.
    owner: AtomicU64,
    value: V,
}

/// The slot of a key, as [`KeyTable::find`] found it.
pub struct Entry<'a, V> {
    /// The value. It belongs to the key if the entry [is current](Self::is_current) after the value was read.
    pub value: &'a V,
    owner: &'a AtomicU64,
    tag: u64,
}

/// The result of [`KeyTable::claim`].
#[derive(Debug)]
pub enum Claim<'a, T> {
    /// The key has a slot now.
    Made(T),
    /// The key already had a slot when the lock was taken.
    Known,
    /// No slot is vacant. The key gets no slot while the lock is held.
    Full(ClaimLock<'a>),
}

/// Holds back the claims of one key, and of those keys that share its lock.
pub struct ClaimLock<'a>(
    #[expect(dead_code, reason = "held until it is dropped")] MutexGuard<'a, ()>,
);

impl<V: SlotValue> KeyTable<V> {
    /// Makes a table with room for `keys` keys, and for up to twice as many if they are evenly distributed.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        let sets = keys.max(1).div_ceil((SLOTS * LINES).div_ceil(2));
        Self {
            lines: (0..sets * LINES).map(|_| Line::new()).collect(),
            claim_locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            evicted_at: AtomicU64::new(0),
            keys: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// Finds the slot of a key.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, tag: u64) -> Option<Entry<'_, V>> {
        let lines = self.lines_of(tag);
        let preferred = &self.lines[lines[0]].0[preferred_slot(tag)];
        if preferred.is_of(tag) {
            return Some(preferred.entry(tag));
        }
        self.search(tag, lines)
    }

    #[inline(never)]
    fn search(&self, tag: u64, [first, second]: [usize; 2]) -> Option<Entry<'_, V>> {
        let lines = [first, first ^ (LINES - 1), second, second ^ (LINES - 1)];
        let mut lines = lines.into_iter().map(|line| &self.lines[line]);
        lines.find_map(|line| line.find(tag))
    }

    /// Gives a slot to a new key.
    ///
    /// `make` makes the initial state from the [time of the last eviction](Self::evicted_at), and a result for the caller.
    ///
    /// # Errors
    ///
    /// If `make` fails. No slot is given then.
    pub fn claim<T, E>(
        &self,
        tag: u64,
        now: u64,
        make: impl FnOnce(u64) -> Result<(V::Initial, T), E>,
    ) -> Result<Claim<'_, T>, E> {
        let lock = lock(self.claim_lock(tag));
        if self.find(tag).is_some() {
            return Ok(Claim::Known);
        }
        let (initial, made) = make(self.evicted_at())?;
        while let Some((slot, mark)) = self.vacancy(tag, now) {
            let owner = slot.owner.load(Ordering::Relaxed);
            if owner != 0 {
                self.evicted_at.fetch_max(now, Ordering::Release);
            }
            if !slot.value.retire(mark) {
                continue;
            }
            slot.owner.store(tag, Ordering::Release);
            slot.value.set(initial);
            // Relaxed: these are counts.
            let count = if owner == 0 {
                &self.keys
            } else {
                &self.evicted
            };
            count.fetch_add(1, Ordering::Relaxed);
            return Ok(Claim::Made(made));
        }
        Ok(Claim::Full(ClaimLock(lock)))
    }

    /// Returns the latest time at which a key was evicted, in nanoseconds; for callers whose key was not found.
    #[must_use]
    pub fn evicted_at(&self) -> u64 {
        // Acquire pairs with the Release of the claim that evicted the key: `find` has seen that the key is gone.
        self.evicted_at.load(Ordering::Acquire)
    }

    /// Waits until a claim of this key, if there is one, is done.
    pub fn wait_for_claim(&self, tag: u64) {
        drop(lock(self.claim_lock(tag)));
    }

    /// Waits until all claims that have begun are done.
    pub fn wait_for_claims(&self) {
        for claim in &self.claim_locks {
            drop(lock(claim));
        }
    }

    /// Calls `f` with the tag and the entry of each key.
    pub fn for_each(&self, f: impl Fn(u64, Entry<'_, V>)) {
        for slot in self.lines.iter().flat_map(|line| &line.0) {
            let tag = slot.owner.load(Ordering::Acquire);
            if tag != 0 {
                f(tag, slot.entry(tag));
            }
        }
    }

    /// Returns the memory of the slots, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }

    fn claim_lock(&self, tag: u64) -> &Mutex<()> {
        // The bit below is the same in all tags of a `KeyHasher`.
        &self.claim_locks[(tag >> 6) as usize % LOCKS]
    }

    /// Returns the line that a key prefers in each of its two sets.
    #[inline(always)]
    fn lines_of(&self, tag: u64) -> [usize; 2] {
        // Half of the tag each, scaled to the number of lines, which has at most 32 bits.
        let lines = self.lines.len() as u64;
        let [first, second] = [tag >> 32, (tag >> 4) & u64::from(u32::MAX)];
        [first, second].map(|half| ((half * lines) >> 32) as usize)
    }

    /// Finds a slot for a new key, and the mark of its state.
    ///
    /// The slot is in the first set, or in the second set if few slots are vacant in the first and more in the second: so the sets
    /// fill evenly, and keys find a slot as long as they are no more than the table was made for. Within the set the slot is in the
    /// line that the key prefers, unless only the other line has a free slot; within the line it is the slot with the smallest mark.
    fn vacancy(&self, tag: u64, now: u64) -> Option<(&Slot<V>, u64)> {
        let sets = self.lines_of(tag).map(|line| {
            [line, line ^ (LINES - 1)].map(|line| self.lines[line].vacant(preferred_slot(tag), now))
        });
        let [first, second] = sets.map(|[(preferred, _), (other, _)]| preferred + other);
        let set = usize::from(first <= FEW && second > first);
        let [preferred, other] = sets[set].map(|(_, slot)| slot);
        let is_free = |(slot, _): &(&Slot<V>, u64)| slot.owner.load(Ordering::Relaxed) == 0;
        let free = preferred.filter(is_free).or_else(|| other.filter(is_free));
        free.or(preferred).or(other)
    }
}

impl<V> KeyTable<V> {
    /// Returns the number of keys that have a slot.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// Returns the number of keys that were evicted since the table was made.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

impl<V: SlotValue> Line<V> {
    fn new() -> Self {
        Self(std::array::from_fn(|_| Slot {
            owner: AtomicU64::new(0),
            value: V::default(),
        }))
    }

    #[inline(always)]
    fn find(&self, tag: u64) -> Option<Entry<'_, V>> {
        let Self(slots) = self;
        let mut found = 0;
        for (index, slot) in slots.iter().enumerate() {
            found |= usize::from(slot.is_of(tag)) << index;
        }
        // One bit for each slot; at most one is set.
        (found != 0).then(|| slots[found.trailing_zeros() as usize % SLOTS].entry(tag))
    }

    /// Returns the number of vacant slots, and the one with the smallest mark. Of several free slots it is the preferred one, or the
    /// next.
    fn vacant(&self, preferred: usize, now: u64) -> (usize, Option<(&Slot<V>, u64)>) {
        let slots = (0..SLOTS).map(|step| &self.0[(preferred + step) % SLOTS]);
        let vacant = slots.filter_map(|slot| {
            let is_owned = slot.owner.load(Ordering::Relaxed) != 0;
            Some((slot, slot.value.idle_mark(now, is_owned)?))
        });
        vacant.fold((0, None), |(count, best), (slot, mark)| match best {
            Some((_, smallest)) if smallest <= mark => (count + 1, best),
            _ => (count + 1, Some((slot, mark))),
        })
    }
}

/// Returns the slot that a key prefers in each of its lines.
#[inline(always)]
fn preferred_slot(tag: u64) -> usize {
    // Bits that hardly influence the choice of the lines.
    (tag >> 32) as usize % SLOTS
}

impl<V> Slot<V> {
    #[inline(always)]
    fn is_of(&self, tag: u64) -> bool {
        // Acquire: a caller that misses an evicted key sees the time of the eviction.
        self.owner.load(Ordering::Acquire) == tag
    }

    #[inline(always)]
    fn entry(&self, tag: u64) -> Entry<'_, V> {
        Entry {
            value: &self.value,
            owner: &self.owner,
            tag,
        }
    }
}

impl<'a, V> Entry<'a, V> {
    /// Returns the entry of a part of the value.
    #[inline(always)]
    #[must_use]
    pub fn map<W>(self, part: impl FnOnce(&'a V) -> &'a W) -> Entry<'a, W> {
        Entry {
            value: part(self.value),
            owner: self.owner,
            tag: self.tag,
        }
    }

    /// Returns true if the slot still belongs to the key. Ask after the value was read.
    #[inline(always)]
    #[must_use]
    pub fn is_current(&self) -> bool {
        // Acquire: the tag of the owner whose value was read, or of a later one.
        self.owner.load(Ordering::Acquire) == self.tag
    }
}

impl<V> Clone for Entry<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Entry<'_, V> {}

impl<V> fmt::Debug for Entry<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}

impl fmt::Debug for ClaimLock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimLock").finish_non_exhaustive()
    }
}

impl<V> fmt::Debug for KeyTable<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyTable")
            .field("keys", &self.keys())
            .field("evicted", &self.evicted())
            .finish_non_exhaustive()
    }
}

/// Hashes keys to the tags of a [`KeyTable`], under a random seed.
///
/// A tag has 59 bits of the hash. Of a million keys, any two share a tag with a probability of less than one in a million, and without
/// the seed a client cannot choose keys that do ([SipHash](std::hash::RandomState)).
#[derive(Debug, Clone)]
pub struct KeyHasher(RandomState);

impl KeyHasher {
    /// The tag of calls without a key.
    pub const NO_KEY: u64 = 1 << 5;

    /// Draws a seed.
    #[must_use]
    pub fn new() -> Self {
        Self(RandomState::new())
    }

    /// Returns the tag of a key. The lowest four bits are 0.
    #[inline(always)]
    #[must_use]
    pub fn tag<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        // The bit above the lowest five keeps a tag from being 0.
        (self.0.hash_one(key) | Self::NO_KEY) & !0xf
    }
}

impl Default for KeyHasher {
    fn default() -> Self {
        Self::new()
    }
}
