use std::sync::{OnceLock, PoisonError};

use super::{Key, WhenFull};
use crate::{
    CircuitBreakerOptions, Mode,
    machine::Machine,
    settings::Settings,
    sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering},
};

/// The most keys that a table has room for.
pub(crate) const MAX_CAPACITY: usize = 1 << 20;

/// Breakers by key, with room for so many.
///
/// A hash table whose chains run through slots that never move. Finding a key reads and locks nothing. Keys come and go under a lock;
/// so a reader may be led astray, into another chain or to its end, and then does not find its key. Whoever finds none looks again
/// under the lock. Whoever finds one looks again after the breaker was asked: as long as the key stands in its slot, the breaker was
/// that of the key, and afterwards the breaker is in another epoch.
///
/// Only a breaker that remembers nothing bad leaves for another key, and not one that was used since the hand came by last.
pub(crate) struct Table {
    /// The first slot of each chain, from 1; 0 ends a chain.
    chains: Box<[AtomicU32]>,
    slots: Box<[Slot]>,
    overflow: Option<Box<Machine>>,
    room: Mutex<Room>,
}

struct Slot {
    /// 0 while the slot is free.
    key: AtomicU64,
    next: AtomicU32,
    /// 1 if a call has used the slot since the hand came by.
    used: AtomicU32,
    machine: OnceLock<Box<Machine>>,
}

/// What is decided under the lock.
struct Room {
    /// How many slots were ever taken.
    taken: usize,
    /// Where the search for room goes on, and how many slots it has looked at in vain.
    hand: usize,
    in_vain: usize,
    /// How many keys are turned away without a search, since there was room nowhere.
    pause: usize,
    mode: Mode,
    /// As the breakers of this table are made.
    settings: Settings,
}

/// What a key without a slot goes to, as if it were a slot.
pub(crate) const OVERFLOW: u32 = u32::MAX;

/// How many slots of a chain a reader looks at before it asks under the lock. More are hardly ever needed, or it went astray.
const LOOKS: usize = 64;

/// How many slots a search for room looks at before it leaves the rest to the next one, so that nobody waits for long.
const SEARCH: usize = 4096;

impl Table {
    /// Makes a table with room for `capacity` keys, at most [`MAX_CAPACITY`] and at least one.
    pub(crate) fn new(settings: Settings, capacity: usize, overflow: WhenFull) -> Self {
        let chains = (0..capacity.next_power_of_two()).map(|_| AtomicU32::new(0));
        let shared = || Box::new(Machine::new(&settings));
        Self {
            chains: chains.collect(),
            slots: (0..capacity).map(|_| Slot::new()).collect(),
            overflow: (overflow == WhenFull::Shared).then(shared),
            room: Mutex::new(Room {
                taken: 0,
                hand: 0,
                in_vain: 0,
                pause: 0,
                mode: Mode::Automatic,
                settings,
            }),
        }
    }

    /// Returns the slot of `key`, or its place in the overflow, if it has one.
    #[inline(always)]
    pub(crate) fn slot(&self, key: Key) -> Option<u32> {
        match self.find(key) {
            Some(slot) => Some(slot),
            None => self.slot_under_lock(key),
        }
    }

    /// Returns the breaker in `slot`.
    #[inline(always)]
    pub(crate) fn machine(&self, slot: u32) -> &Machine {
        let machine = match self.slots.get(slot as usize) {
            Some(slot) => slot.machine.get(),
            None => self.overflow.as_ref(),
        };
        machine.expect("made before its slot was known")
    }

    /// Whether `slot` is still that of `key`.
    #[inline(always)]
    pub(crate) fn is_of(&self, slot: u32, key: Key) -> bool {
        let slot = self.slots.get(slot as usize);
        // Acquire, as everywhere: see `make_room`.
        slot.is_none_or(|slot| slot.key.load(Ordering::Acquire) == key.bits())
    }

    /// Does something with the breaker of `key`, which keeps its slot meanwhile.
    pub(crate) fn with<T>(&self, key: Key, act: impl FnOnce(&Machine) -> T) -> Option<T> {
        let _room = self.lock();
        let slot = self.find_all(key)?;
        Some(act(self.machine(slot)))
    }

    /// Does something with the breaker of `key`, which is made if there is room for it.
    pub(crate) fn with_new<T>(&self, key: Key, act: impl FnOnce(&Machine) -> T) -> Option<T> {
        let mut room = self.lock();
        let slot = self.find_or_take(&mut room, key)?;
        let done = act(self.machine(slot));
        drop(room);
        self.machine(slot).deliver();
        Some(done)
    }

    /// Changes the options of all breakers, and of those to come.
    pub(crate) fn update(&self, options: CircuitBreakerOptions) {
        let mut room = self.lock();
        room.settings.options = options;
        self.machines().for_each(|machine| machine.update(options));
    }

    /// Changes the mode of all breakers, and of those to come.
    pub(crate) fn set_mode_of_all(&self, mode: Mode) {
        let mut room = self.lock();
        room.mode = mode;
        self.machines().for_each(|machine| machine.switch(mode));
        drop(room);
        self.machines().for_each(Machine::deliver);
    }

    pub(crate) fn options(&self) -> CircuitBreakerOptions {
        self.lock().settings.options
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().taken
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn overflow(&self) -> Option<&Machine> {
        self.overflow.as_deref()
    }

    #[inline(always)]
    fn find(&self, key: Key) -> Option<u32> {
        let mut next = self.chain(key).load(Ordering::Acquire);
        for _ in 0..LOOKS {
            let at = next.checked_sub(1)?;
            let slot = &self.slots[at as usize];
            if slot.key.load(Ordering::Acquire) == key.bits() {
                slot.note_use();
                return Some(at);
            }
            next = slot.next.load(Ordering::Acquire);
        }
        None
    }

    #[cold]
    #[inline(never)]
    fn slot_under_lock(&self, key: Key) -> Option<u32> {
        let overflow = self.overflow.is_some().then_some(OVERFLOW);
        self.find_or_take(&mut self.lock(), key).or(overflow)
    }

    fn find_or_take(&self, room: &mut Room, key: Key) -> Option<u32> {
        match self.find_all(key) {
            Some(slot) => Some(slot),
            None => self.take(room, key),
        }
    }

    /// Finds a key under the lock, where chains are as they should be.
    fn find_all(&self, key: Key) -> Option<u32> {
        let mut next = self.chain(key).load(Ordering::Relaxed);
        loop {
            let at = next.checked_sub(1)?;
            let slot = &self.slots[at as usize];
            if slot.key.load(Ordering::Relaxed) == key.bits() {
                return Some(at);
            }
            next = slot.next.load(Ordering::Relaxed);
        }
    }

    /// Gives a new key a slot: one that was never taken, or one whose key remembers nothing bad.
    fn take(&self, room: &mut Room, key: Key) -> Option<u32> {
        let at = if room.taken < self.slots.len() {
            self.make(room)
        } else {
            self.make_room(room)?
        };
        let (slot, chain) = (&self.slots[at as usize], self.chain(key));
        slot.used.store(1, Ordering::Relaxed);
        slot.next
            .store(chain.load(Ordering::Relaxed), Ordering::Relaxed);
        // Release pairs with the Acquire of `find` and `is_of`: who sees the key sees its breaker as it is made or made anew.
        slot.key.store(key.bits(), Ordering::Release);
        chain.store(at + 1, Ordering::Release);
        Some(at)
    }

    fn make(&self, room: &mut Room) -> u32 {
        let at = room.taken;
        room.taken += 1;
        let seed = |seed: u64| seed.wrapping_add((at as u64 + 1) << 32);
        let settings = Settings {
            seed: room.settings.seed.map(seed),
            ..room.settings.clone()
        };
        let machine = Box::new(Machine::new(&settings));
        machine.switch(room.mode);
        let _ = self.slots[at].machine.set(machine);
        at as u32
    }

    /// Frees the slot of a key that remembers nothing bad and was not used since the hand came by.
    fn make_room(&self, room: &mut Room) -> Option<u32> {
        if room.pause > 0 {
            room.pause -= 1;
            return None;
        }
        let now = room.settings.clock.now();
        // In the first round every slot may have been used, in the second few have.
        let rounds = 2 * self.slots.len();
        for _ in 0..rounds.min(SEARCH) {
            let at = room.hand;
            room.hand = (at + 1) % self.slots.len();
            room.in_vain += 1;
            let was_used = self.slots[at].used.swap(0, Ordering::Relaxed) != 0;
            if !was_used && self.free(at, room.mode, now) {
                room.in_vain = 0;
                return Some(at as u32);
            }
        }
        if room.in_vain >= rounds {
            // So a key that finds no room looks, on average, at no more than so many slots.
            room.pause = rounds / LOOKS;
            room.in_vain = 0;
        }
        None
    }

    /// Takes the slot from its key, if that changes nothing for the key.
    fn free(&self, at: usize, mode: Mode, now: u64) -> bool {
        let slot = &self.slots[at];
        let key = slot.key.load(Ordering::Relaxed);
        // First the key goes, then the epoch: who is admitted in the next epoch does not find the key any more.
        slot.key.store(0, Ordering::Release);
        let retired = self.machine(at as u32).retire(mode, now);
        if retired {
            self.unlink(key, at as u32 + 1);
        } else {
            slot.key.store(key, Ordering::Release);
        }
        retired
    }

    fn unlink(&self, key: u64, link: u32) {
        let mut from = self.chain_of(key);
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
    fn chain(&self, key: Key) -> &AtomicU32 {
        self.chain_of(key.bits())
    }

    #[inline(always)]
    fn chain_of(&self, key: u64) -> &AtomicU32 {
        &self.chains[key as usize & (self.chains.len() - 1)]
    }

    fn machines(&self) -> impl Iterator<Item = &Machine> {
        let of_keys = self.slots.iter().filter_map(|slot| slot.machine.get());
        of_keys.chain(&self.overflow).map(|machine| &**machine)
    }

    fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            key: AtomicU64::new(0),
            next: AtomicU32::new(0),
            used: AtomicU32::new(0),
            machine: OnceLock::new(),
        }
    }

    #[inline(always)]
    fn note_use(&self) {
        if self.used.load(Ordering::Relaxed) == 0 {
            self.used.store(1, Ordering::Relaxed);
        }
    }
}
