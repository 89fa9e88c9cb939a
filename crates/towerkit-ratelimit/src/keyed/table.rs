use crate::{
    level::Short,
    quota::Spacing,
    rate::{CLAIMED, ERA},
    sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock},
};

/// The places of a line. In a model for loom there is but one.
const PLACES: usize = if cfg!(towerkit_loom) { 1 } else { 4 };

/// The lines of a set, which lie next to each other.
const LINES: usize = if cfg!(towerkit_loom) { 1 } else { 2 };

/// The first set of a key is as good as the second until so few of its places are vacant.
const FEW: usize = PLACES * LINES / 4;

/// Locks for newcomers. Those of one key always take the same one.
const LOCKS: usize = if cfg!(towerkit_loom) { 2 } else { 64 };

/// The buckets of keys, in memory of a fixed size.
///
/// A key is known by its tag, 64 bits of a seeded hash of which the lowest four are its class; the key itself is not kept. A tag may
/// stand in either of two sets, in each of which it prefers one line, and one place of it. Most stand where they prefer to, so that to
/// find a key is to read one cache line and to compare one tag; the others are found by comparing all four of a line without a branch
/// between them. A place is given to another key only while its bucket is full, which is what a key that is not known has as well: so
/// nothing is forgotten by which a window could hold more.
///
/// A key that is known takes no lock: it finds its place, reads the word, sees that the place is still its own, and exchanges the word
/// it has read. A place that changes hands in between has another word: [`CLAIMED`] at first, and a later time than ever before
/// afterwards, since a full bucket lies in the past and a new one in the present.
pub(crate) struct Table {
    lines: Box<[Line]>,
    claims: Box<[Mutex<()>]>,
    /// The latest time at which a bucket was found full and forgotten: no bucket that comes after was full before.
    forgotten_at: AtomicU64,
    keys: AtomicU64,
    evicted: AtomicU64,
}

/// A cache line.
#[repr(align(64))]
struct Line([Slot; PLACES]);

struct Slot {
    /// 0 where there is none.
    owner: AtomicU64,
    word: AtomicU64,
}

/// The place of a key that is known.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) word: &'a AtomicU64,
    owner: &'a AtomicU64,
    tag: u64,
}

/// What became of a newcomer.
pub(crate) enum Claim<'a, T> {
    /// It has a place now.
    Made(T),
    /// It has a place already, or had one.
    Known,
    /// There is no place, and there will be none as long as this is held.
    NoRoom(MutexGuard<'a, ()>),
}

impl Table {
    /// Makes a table that can hold `keys` keys, and by chance up to twice as many.
    pub(crate) fn new(keys: usize) -> Self {
        let sets = keys.div_ceil((PLACES * LINES).div_ceil(2));
        Self {
            lines: (0..sets * LINES).map(|_| Line::new()).collect(),
            claims: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            forgotten_at: AtomicU64::new(0),
            keys: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// Finds the place of a key.
    #[inline(always)]
    pub(crate) fn find(&self, tag: u64) -> Option<Place<'_>> {
        let lines = self.lines_of(tag);
        let preferred = &self.lines[lines[0]].0[place_of(tag)];
        if preferred.is_of(tag) {
            return Some(preferred.place(tag));
        }
        self.search(tag, lines)
    }

    #[inline(never)]
    fn search(&self, tag: u64, [first, second]: [usize; 2]) -> Option<Place<'_>> {
        let lines = [first, first ^ (LINES - 1), second, second ^ (LINES - 1)];
        let mut lines = lines.into_iter().map(|line| &self.lines[line]);
        lines.find_map(|line| line.find(tag))
    }

    /// Gives a key a place that has none. `make` makes its word from the time at which its bucket was full.
    pub(crate) fn claim<T>(
        &self,
        tag: u64,
        now: u64,
        make: impl Fn(u64) -> Result<(u64, T), Short>,
    ) -> Result<Claim<'_, T>, Short> {
        let claiming = lock(self.claim_of(tag));
        if self.find(tag).is_some() {
            return Ok(Claim::Known);
        }
        let (word, made) = make(self.forgotten_at())?;
        while let Some((slot, seen)) = self.vacancy(tag, Spacing::units(now)) {
            let owner = slot.owner.load(Ordering::Relaxed);
            if owner != 0 {
                self.forgotten_at.fetch_max(now, Ordering::Release);
            }
            // Acquire, Release: what comes after stays after, what came before stays before.
            if slot
                .word
                .compare_exchange(seen, CLAIMED, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
            {
                continue;
            }
            slot.owner.store(tag, Ordering::Release);
            slot.word.store(word, Ordering::Release);
            // Relaxed: these are counts.
            let count = if owner == 0 {
                &self.keys
            } else {
                &self.evicted
            };
            count.fetch_add(1, Ordering::Relaxed);
            return Ok(Claim::Made(made));
        }
        Ok(Claim::NoRoom(claiming))
    }

    /// Returns the latest time at which a bucket was forgotten, for those who found that their key is not known.
    pub(crate) fn forgotten_at(&self) -> u64 {
        // Acquire pairs with the Release of whoever evicted the key: `find` has seen that it is gone.
        self.forgotten_at.load(Ordering::Acquire)
    }

    /// Waits until a key has its place that was about to get one.
    pub(crate) fn wait_for_claim(&self, tag: u64) {
        drop(lock(self.claim_of(tag)));
    }

    /// Waits until all have a place that were about to get one.
    pub(crate) fn wait_for_claims(&self) {
        for claim in &self.claims {
            drop(lock(claim));
        }
    }

    /// Shows the places of all keys, with their tags.
    pub(crate) fn for_each(&self, see: impl Fn(u64, Place<'_>)) {
        for slot in self.lines.iter().flat_map(|line| &line.0) {
            let tag = slot.owner.load(Ordering::Acquire);
            if tag != 0 {
                see(tag, slot.place(tag));
            }
        }
    }

    #[cfg(all(test, not(towerkit_loom)))]
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }

    /// Returns how many keys have a place.
    pub(crate) fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// Returns how many keys lost their place.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    fn claim_of(&self, tag: u64) -> &Mutex<()> {
        // The bit below is the same in all tags.
        &self.claims[(tag >> 6) as usize % LOCKS]
    }

    /// The line that a key prefers in each of its sets.
    #[inline(always)]
    fn lines_of(&self, tag: u64) -> [usize; 2] {
        // Half of the tag each, scaled to the number of lines, which has at most 32 bits.
        let lines = self.lines.len() as u64;
        let [first, second] = [tag >> 32, (tag >> 4) & u64::from(u32::MAX)];
        [first, second].map(|half| ((half * lines) >> 32) as usize)
    }

    /// Finds the place for a newcomer, and the word that stands in it.
    ///
    /// It is in the first set, or in the second one if few places are vacant in the first and more in the second: so the sets fill
    /// evenly, and a key finds room as long as there are no more than the table was made for. In the set it is in the line that the
    /// key prefers, unless there are free places in the other one only, and in the line it is the one that has been full for longest.
    fn vacancy(&self, tag: u64, now: u64) -> Option<(&Slot, u64)> {
        let sets = self.lines_of(tag).map(|line| {
            [line, line ^ (LINES - 1)].map(|line| self.lines[line].vacant(place_of(tag), now))
        });
        let [first, second] = sets.map(|[(preferred, _), (other, _)]| preferred + other);
        let set = usize::from(first <= FEW && second > first);
        let [preferred, other] = sets[set].map(|(_, oldest)| oldest);
        let is_free = |(slot, _): &(&Slot, u64)| slot.owner.load(Ordering::Relaxed) == 0;
        let free = preferred.filter(is_free).or_else(|| other.filter(is_free));
        free.or(preferred).or(other)
    }
}

impl Line {
    fn new() -> Self {
        Self(std::array::from_fn(|_| Slot::new()))
    }

    #[inline(always)]
    fn find(&self, tag: u64) -> Option<Place<'_>> {
        let Self(slots) = self;
        let mut found = 0;
        for (place, slot) in slots.iter().enumerate() {
            found |= usize::from(slot.is_of(tag)) << place;
        }
        // Of the places there is one bit each, and no other.
        (found != 0).then(|| slots[found.trailing_zeros() as usize % PLACES].place(tag))
    }

    /// Returns how many places could be given to a newcomer, and the one whose bucket has been full for longest, with its word. Of
    /// several free places it is the `preferred` one, or the next.
    fn vacant(&self, preferred: usize, now: u64) -> (usize, Option<(&Slot, u64)>) {
        let slots = (0..PLACES).map(|step| &self.0[(preferred + step) % PLACES]);
        let words = slots.map(|slot| (slot, slot.word.load(Ordering::Relaxed)));
        let vacant = words.filter(|(slot, word)| {
            let is_free = *word != CLAIMED && slot.owner.load(Ordering::Relaxed) == 0;
            // Strictly in the past, so that the word of the next owner is another one.
            is_free || *word | ERA < now
        });
        vacant.fold((0, None), |(count, oldest), (slot, word)| match oldest {
            Some((_, older)) if older <= word => (count + 1, oldest),
            _ => (count + 1, Some((slot, word))),
        })
    }
}

/// The place that a key prefers in each of its lines.
#[inline(always)]
fn place_of(tag: u64) -> usize {
    // Bits that hardly count for which lines these are.
    (tag >> 32) as usize % PLACES
}

impl Slot {
    fn new() -> Self {
        Self {
            owner: AtomicU64::new(0),
            word: AtomicU64::new(0),
        }
    }

    #[inline(always)]
    fn is_of(&self, tag: u64) -> bool {
        // Acquire: who misses a key that was evicted sees when that was.
        self.owner.load(Ordering::Acquire) == tag
    }

    #[inline(always)]
    fn place(&self, tag: u64) -> Place<'_> {
        Place::new(&self.word, &self.owner, tag)
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
