use crate::{
    level::Short,
    quota::Spacing,
    rate::CLAIMED,
    sync::{AtomicU64, Mutex, Ordering, lock},
};

/// The places of a set: a cache line of tags, and one of words. In a model for loom there is but one.
const PLACES: usize = if cfg!(towerkit_loom) { 1 } else { 8 };

/// Locks for newcomers. Those of one key always take the same one.
const LOCKS: usize = if cfg!(towerkit_loom) { 2 } else { 64 };

/// The buckets of keys, in memory of a fixed size.
///
/// A key is known by its tag, 64 bits of a seeded hash of which the lowest four are its class; the key itself is not kept. A tag may
/// stand in either of two sets. A place is given to another key only while its bucket is full, which is what a key that is not known
/// has as well: so nothing is forgotten by which a window could hold more.
///
/// A key that is known takes no lock: it finds its place, reads the word, sees that the place is still its own, and exchanges the word
/// it has read. A place that changes hands in between has another word: [`CLAIMED`] at first, and a later time than ever before
/// afterwards, since a full bucket lies in the past and a new one in the present.
pub(crate) struct Table {
    sets: Box<[Set]>,
    claims: Box<[Mutex<()>]>,
    /// The latest time at which a bucket was found full and forgotten: no bucket that comes after was full before.
    forgotten_at: AtomicU64,
    keys: AtomicU64,
    evicted: AtomicU64,
}

#[repr(align(64))]
struct Set {
    tags: [AtomicU64; PLACES],
    words: [AtomicU64; PLACES],
}

/// The place of a key that is known.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) word: &'a AtomicU64,
    owner: &'a AtomicU64,
    tag: u64,
}

/// What became of a newcomer.
pub(crate) enum Claim<T> {
    /// It has a place now.
    Made(T),
    /// It has a place already, or had one.
    Known,
    /// There is no place.
    NoRoom,
}

impl Table {
    /// Makes a table that can hold `keys` keys, and by chance up to twice as many.
    pub(crate) fn new(keys: usize) -> Self {
        let sets = keys.div_ceil(PLACES.div_ceil(2));
        Self {
            sets: (0..sets).map(|_| Set::new()).collect(),
            claims: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            forgotten_at: AtomicU64::new(0),
            keys: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// Finds the place of a key.
    #[inline(always)]
    pub(crate) fn find(&self, tag: u64) -> Option<Place<'_>> {
        let [first, second] = self.sets_of(tag);
        first.find(tag).or_else(|| second.find(tag))
    }

    /// Gives a key a place that has none. `make` makes its word from the time at which its bucket was full.
    pub(crate) fn claim<T>(
        &self,
        tag: u64,
        now: u64,
        make: impl Fn(u64) -> Result<(u64, T), Short>,
    ) -> Result<Claim<T>, Short> {
        let _claiming = lock(&self.claims[tag as usize / 16 % LOCKS]);
        if self.find(tag).is_some() {
            return Ok(Claim::Known);
        }
        // Acquire pairs with the Release of whoever evicted this key: `find` has seen that it is gone.
        let (word, made) = make(self.forgotten_at.load(Ordering::Acquire))?;
        let sets = self.sets_of(tag);
        while let Some((set, place, seen)) = oldest(sets, Spacing::units(now)) {
            let owner = set.tags[place].load(Ordering::Relaxed);
            if owner != 0 {
                self.forgotten_at.fetch_max(now, Ordering::Release);
            }
            let slot = &set.words[place];
            // Acquire, Release: what comes after stays after, what came before stays before.
            if slot
                .compare_exchange(seen, CLAIMED, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
            {
                continue;
            }
            set.tags[place].store(tag, Ordering::Release);
            slot.store(word, Ordering::Release);
            // Relaxed: these are counts.
            let count = if owner == 0 {
                &self.keys
            } else {
                &self.evicted
            };
            count.fetch_add(1, Ordering::Relaxed);
            return Ok(Claim::Made(made));
        }
        Ok(Claim::NoRoom)
    }

    /// Waits until all have a place that were about to get one.
    pub(crate) fn wait_for_claims(&self) {
        for claim in &self.claims {
            drop(lock(claim));
        }
    }

    /// Shows all places, with the tags of their owners; 0 where there is none.
    pub(crate) fn for_each(&self, see: impl Fn(u64, &AtomicU64)) {
        for set in &self.sets {
            for (tag, word) in set.tags.iter().zip(&set.words) {
                see(tag.load(Ordering::Acquire), word);
            }
        }
    }

    #[cfg(all(test, not(towerkit_loom)))]
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// Returns how many keys have a place.
    pub(crate) fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// Returns how many keys lost their place.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn sets_of(&self, tag: u64) -> [&Set; 2] {
        // Half of the tag each, scaled to the number of sets, which has at most 32 bits.
        let sets = self.sets.len() as u64;
        let [first, second] = [tag >> 32, (tag >> 4) & u64::from(u32::MAX)];
        [first, second].map(|half| &self.sets[((half * sets) >> 32) as usize])
    }
}

/// Finds the bucket that has been full for longest, in the set that has more of them.
fn oldest(sets: [&Set; 2], now: u64) -> Option<(&Set, usize, u64)> {
    let full = |set: &Set| {
        let places = set.tags.iter().zip(&set.words).enumerate();
        let full = places.filter_map(|(place, (tag, word))| {
            let word = word.load(Ordering::Relaxed);
            let is_free = word != CLAIMED && tag.load(Ordering::Relaxed) == 0;
            // Strictly in the past, so that the word of the next owner is another one.
            (is_free || word | 1 < now).then_some((word, place))
        });
        full.fold((0, None), |(count, oldest), full| {
            (
                count + 1,
                Some(oldest.map_or(full, |oldest| full.min(oldest))),
            )
        })
    };
    let [(first, oldest_of_first), (second, oldest_of_second)] = sets.map(full);
    let (set, oldest) = if first >= second {
        (sets[0], oldest_of_first)
    } else {
        (sets[1], oldest_of_second)
    };
    oldest.map(|(word, place)| (set, place, word))
}

impl Set {
    fn new() -> Self {
        Self {
            tags: std::array::from_fn(|_| AtomicU64::new(0)),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    #[inline(always)]
    fn find(&self, tag: u64) -> Option<Place<'_>> {
        let mut places = self.tags.iter().zip(&self.words);
        // Acquire: who misses a key that was evicted sees when that was.
        let (owner, word) = places.find(|(owner, _)| owner.load(Ordering::Acquire) == tag)?;
        Some(Place::new(word, owner, tag))
    }
}

impl<'a> Place<'a> {
    pub(crate) fn new(word: &'a AtomicU64, owner: &'a AtomicU64, tag: u64) -> Self {
        Self { word, owner, tag }
    }

    /// Whether the place is still that of the key. To be asked once the word is read.
    #[inline(always)]
    pub(crate) fn is_ours(&self) -> bool {
        // Acquire: the tag of the owner whose word was read, or a later one.
        self.owner.load(Ordering::Acquire) == self.tag
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("keys", &self.keys())
            .field("evicted", &self.evicted())
            .finish_non_exhaustive()
    }
}
