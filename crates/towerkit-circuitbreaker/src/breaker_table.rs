use std::sync::{OnceLock, PoisonError};

use crate::{
    config::{CircuitBreakerOptions, Config},
    state::Mode,
    state_machine::StateMachine,
    sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering},
};

/// The largest number of keys of a table.
pub(crate) const MAX_CAPACITY: usize = 1 << 20;

/// The breakers of up to so many keys.
///
/// A key is known by its tag, see [`KeyHasher`](towerkit_keyed::KeyHasher). The table is a hash table with chaining; the chains link
/// slots that never move. A look-up takes no lock. Keys are added and evicted under a lock, so that a look-up may follow a link into
/// another chain and miss its key: a look-up that misses is repeated under the lock. A call that finds its key asks the breaker and
/// then [checks the key](Self::is_owned_by) again: as long as the slot has the key, the breaker belongs to it, and afterwards the
/// breaker is in another [`Generation`](crate::generation::Generation).
///
/// Keys are evicted by the CLOCK algorithm (Corbató, "A Paging Experiment with the Multics System", 1968): a hand moves over the slots
/// and evicts the first key that was not used since the last round and whose breaker [is idle](StateMachine::try_reset). It needs no
/// time of the last use, so that an admitted call reads no clock, and it finds an idle key wherever it is in the table. These are the
/// reasons why this crate does not use [`KeyTable`](towerkit_keyed::KeyTable): there a key competes with the other keys of its sets
/// only, and would go without a breaker while idle keys are elsewhere.
pub(crate) struct BreakerTable {
    /// The first slot of each chain, counted from 1; 0 ends a chain.
    chains: Box<[AtomicU32]>,
    slots: Box<[Slot]>,
    /// The breaker of all keys without a slot, if they share one.
    shared: Option<Box<StateMachine>>,
    eviction: Mutex<Eviction>,
}

struct Slot {
    /// The tag of the key; 0 if the slot is free.
    tag: AtomicU64,
    next: AtomicU32,
    /// 1 if a call has used the slot since the hand passed it.
    used: AtomicU32,
    machine: OnceLock<Box<StateMachine>>,
}

/// The state under the lock.
struct Eviction {
    /// The number of slots that have ever been taken.
    taken: usize,
    /// The slot that the search for an idle key continues with.
    hand: usize,
    /// The number of slots searched since the last idle key was found.
    searched: usize,
    /// The number of keys that go without a search, because there was no idle key.
    skip: usize,
    mode: Mode,
    /// The configuration of new breakers.
    config: Config,
}

/// The index of the breaker that keys without a slot share.
pub(crate) const SHARED: u32 = u32::MAX;

/// The number of slots of a chain that a look-up without the lock reads. Longer chains are rare, or the look-up is in another chain.
const MAX_STEPS: usize = 64;

/// The number of slots that one search for an idle key reads; the next one continues, so that each call waits a bounded time.
const MAX_SEARCH: usize = 4096;

impl BreakerTable {
    /// Makes a table for 1 to [`MAX_CAPACITY`] keys; those without a slot share one breaker if `share` is true.
    pub(crate) fn new(config: Config, capacity: usize, share: bool) -> Self {
        let chains = (0..capacity.next_power_of_two()).map(|_| AtomicU32::new(0));
        Self {
            chains: chains.collect(),
            slots: (0..capacity).map(|_| Slot::new()).collect(),
            shared: share.then(|| Box::new(StateMachine::new(&config))),
            eviction: Mutex::new(Eviction {
                taken: 0,
                hand: 0,
                searched: 0,
                skip: 0,
                mode: Mode::Automatic,
                config,
            }),
        }
    }

    /// Returns the slot of a key, which is taken if there is room, or else the [`SHARED`] breaker if there is one.
    #[inline(always)]
    pub(crate) fn slot(&self, tag: u64) -> Option<u32> {
        match self.find(tag) {
            Some(slot) => Some(slot),
            None => self.slot_under_lock(tag),
        }
    }

    /// Returns the breaker of a slot.
    #[inline(always)]
    pub(crate) fn machine(&self, slot: u32) -> &StateMachine {
        let machine = match self.slots.get(slot as usize) {
            Some(slot) => slot.machine.get(),
            None => self.shared.as_ref(),
        };
        machine.expect("made before its slot is published")
    }

    /// Returns true if the slot still belongs to the key.
    #[inline(always)]
    pub(crate) fn is_owned_by(&self, slot: u32, tag: u64) -> bool {
        let slot = self.slots.get(slot as usize);
        // Acquire, as everywhere: see `try_evict`.
        slot.is_none_or(|slot| slot.tag.load(Ordering::Acquire) == tag)
    }

    /// Calls `f` with the breaker of a key, which keeps its slot meanwhile; returns `None` if the key has no breaker.
    pub(crate) fn with<T>(&self, tag: u64, f: impl FnOnce(&StateMachine) -> T) -> Option<T> {
        let _eviction = self.lock();
        let slot = self.find_under_lock(tag)?;
        Some(f(self.machine(slot)))
    }

    /// Calls `f` with the breaker of a key, which is made if there is room; returns `None` if there is no room.
    pub(crate) fn with_new<T>(&self, tag: u64, f: impl FnOnce(&StateMachine) -> T) -> Option<T> {
        let mut eviction = self.lock();
        let slot = self.find_or_take(&mut eviction, tag)?;
        let result = f(self.machine(slot));
        drop(eviction);
        self.machine(slot).deliver();
        Some(result)
    }

    /// Replaces the options of all breakers, and of those made later.
    pub(crate) fn update(&self, options: CircuitBreakerOptions) {
        let mut eviction = self.lock();
        eviction.config.options = options;
        self.machines().for_each(|machine| machine.update(options));
    }

    /// Sets the mode of all breakers, and of those made later.
    pub(crate) fn set_mode_of_all(&self, mode: Mode) {
        let mut eviction = self.lock();
        eviction.mode = mode;
        self.machines().for_each(|machine| machine.set_mode(mode));
        drop(eviction);
        self.machines().for_each(StateMachine::deliver);
    }

    pub(crate) fn options(&self) -> CircuitBreakerOptions {
        self.lock().config.options
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().taken
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Returns the breaker of the keys without a slot, if they share one.
    pub(crate) fn shared(&self) -> Option<&StateMachine> {
        self.shared.as_deref()
    }

    #[inline(always)]
    fn find(&self, tag: u64) -> Option<u32> {
        let mut next = self.chain(tag).load(Ordering::Acquire);
        for _ in 0..MAX_STEPS {
            let index = next.checked_sub(1)?;
            let slot = &self.slots[index as usize];
            if slot.tag.load(Ordering::Acquire) == tag {
                slot.set_used();
                return Some(index);
            }
            next = slot.next.load(Ordering::Acquire);
        }
        None
    }

    #[cold]
    #[inline(never)]
    fn slot_under_lock(&self, tag: u64) -> Option<u32> {
        let shared = self.shared.is_some().then_some(SHARED);
        self.find_or_take(&mut self.lock(), tag).or(shared)
    }

    fn find_or_take(&self, eviction: &mut Eviction, tag: u64) -> Option<u32> {
        match self.find_under_lock(tag) {
            Some(slot) => Some(slot),
            None => self.take(eviction, tag),
        }
    }

    /// Finds a key while the chains do not change.
    fn find_under_lock(&self, tag: u64) -> Option<u32> {
        let mut next = self.chain(tag).load(Ordering::Relaxed);
        loop {
            let index = next.checked_sub(1)?;
            let slot = &self.slots[index as usize];
            if slot.tag.load(Ordering::Relaxed) == tag {
                return Some(index);
            }
            next = slot.next.load(Ordering::Relaxed);
        }
    }

    /// Gives a slot to a new key: one that was never taken, or that of an evicted key.
    fn take(&self, eviction: &mut Eviction, tag: u64) -> Option<u32> {
        let index = if eviction.taken < self.slots.len() {
            self.make_breaker(eviction)
        } else {
            self.evict(eviction)?
        };
        let (slot, chain) = (&self.slots[index as usize], self.chain(tag));
        slot.used.store(1, Ordering::Relaxed);
        slot.next
            .store(chain.load(Ordering::Relaxed), Ordering::Relaxed);
        // Release pairs with the Acquire of `find` and `is_owned_by`: a thread that sees the tag sees the breaker new or reset.
        slot.tag.store(tag, Ordering::Release);
        chain.store(index + 1, Ordering::Release);
        Some(index)
    }

    fn make_breaker(&self, eviction: &mut Eviction) -> u32 {
        let index = eviction.taken;
        eviction.taken += 1;
        let seed = |seed: u64| seed.wrapping_add((index as u64 + 1) << 32);
        let config = Config {
            seed: eviction.config.seed.map(seed),
            ..eviction.config.clone()
        };
        let machine = Box::new(StateMachine::new(&config));
        machine.set_mode(eviction.mode);
        let _ = self.slots[index].machine.set(machine);
        index as u32
    }

    /// Evicts a key whose breaker is idle and that was not used since the hand passed it, and returns its slot.
    fn evict(&self, eviction: &mut Eviction) -> Option<u32> {
        if eviction.skip > 0 {
            eviction.skip -= 1;
            return None;
        }
        let now = eviction.config.clock.now();
        // In the first round every slot may have been used, in the second few have.
        let rounds = 2 * self.slots.len();
        for _ in 0..rounds.min(MAX_SEARCH) {
            let index = eviction.hand;
            eviction.hand = (index + 1) % self.slots.len();
            eviction.searched += 1;
            let was_used = self.slots[index].used.swap(0, Ordering::Relaxed) != 0;
            if !was_used && self.try_evict(index, eviction.mode, now) {
                eviction.searched = 0;
                return Some(index as u32);
            }
        }
        if eviction.searched >= rounds {
            // There is no idle key. Further keys skip the search, so that each of them pays for at most 64 slots on average.
            eviction.skip = rounds / MAX_STEPS;
            eviction.searched = 0;
        }
        None
    }

    /// Frees a slot if its breaker is idle.
    fn try_evict(&self, index: usize, mode: Mode, now: u64) -> bool {
        let slot = &self.slots[index];
        let tag = slot.tag.load(Ordering::Relaxed);
        // The tag goes before the generation: a call that the next generation admits no longer finds its tag.
        slot.tag.store(0, Ordering::Release);
        let is_reset = self.machine(index as u32).try_reset(mode, now);
        if is_reset {
            self.unlink(tag, index as u32 + 1);
        } else {
            slot.tag.store(tag, Ordering::Release);
        }
        is_reset
    }

    fn unlink(&self, tag: u64, link: u32) {
        let mut from = self.chain(tag);
        loop {
            let next = from.load(Ordering::Relaxed);
            let slot = &self.slots[next as usize - 1];
            if next == link {
                return from.store(slot.next.load(Ordering::Relaxed), Ordering::Release);
            }
            from = &slot.next;
        }
    }

    #[inline(always)]
    fn chain(&self, tag: u64) -> &AtomicU32 {
        // The lowest six bits of a tag are fixed or unused.
        &self.chains[(tag >> 6) as usize & (self.chains.len() - 1)]
    }

    fn machines(&self) -> impl Iterator<Item = &StateMachine> {
        let of_keys = self.slots.iter().filter_map(|slot| slot.machine.get());
        of_keys.chain(&self.shared).map(|machine| &**machine)
    }

    fn lock(&self) -> MutexGuard<'_, Eviction> {
        self.eviction.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            tag: AtomicU64::new(0),
            next: AtomicU32::new(0),
            used: AtomicU32::new(0),
            machine: OnceLock::new(),
        }
    }

    #[inline(always)]
    fn set_used(&self) {
        if self.used.load(Ordering::Relaxed) == 0 {
            self.used.store(1, Ordering::Relaxed);
        }
    }
}
