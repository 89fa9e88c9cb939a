use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, OnceLock, PoisonError},
};

use crate::{
    lease::Spent,
    place::Place,
    sync::{AtomicU64, Ordering},
};

/// The places of all keys: a table of fixed size without a lock on the way to a key that has a place.
///
/// A key is known by 64 bits of a keyed hash, and may stand in any of a few places next to each other. A place goes to another key
/// only when its old key would lose nothing. Two keys with one hash would share tokens, of which Redis still gives out no more.
#[derive(Debug)]
pub(crate) struct Keys {
    capacity: usize,
    hasher: RandomState,
    table: OnceLock<Table>,
    /// Held by whoever gives a place to a key, so that no key gets two.
    giving: Mutex<()>,
}

#[derive(Debug)]
struct Table {
    /// The hashes of the keys that have the places; 0 for none.
    tags: Box<[AtomicU64]>,
    places: Box<[Place]>,
}

/// Among how many places a key may choose.
const CHOICE: usize = 16;

/// A place and the key that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    index: usize,
    tag: u64,
}

impl Spot {
    pub(crate) fn tag(self) -> u64 {
        self.tag
    }
}

impl Keys {
    /// What calls without a key have in common.
    const ONLY: u64 = 1;

    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: if capacity == 1 {
                1
            } else {
                capacity.next_power_of_two().max(CHOICE)
            },
            hasher: RandomState::new(),
            table: OnceLock::new(),
            giving: Mutex::new(()),
        }
    }

    #[inline(always)]
    pub(crate) fn tag(&self, key: Option<&str>) -> u64 {
        if self.capacity == 1 {
            return Self::ONLY;
        }
        key.map_or(Self::ONLY, |key| self.hasher.hash_one(key).max(2))
    }

    /// Finds the place of a key.
    #[inline(always)]
    pub(crate) fn find(&self, tag: u64) -> Option<Spot> {
        let tags = &self.table.get()?.tags;
        self.choice(tag)
            // Relaxed: `Lease::spend` asks again once it has seen the lease.
            .find(|index| tags[*index].load(Ordering::Relaxed) == tag)
            .map(|index| Spot { index, tag })
    }

    #[inline(always)]
    pub(crate) fn spend(&self, spot: Spot, now: u64) -> Spent {
        self.place(spot).spend(now, || self.is_of(spot))
    }

    /// Whether the place is still that of the key. To be sure of it for a while, be at its desk.
    #[inline(always)]
    pub(crate) fn is_of(&self, spot: Spot) -> bool {
        self.table().tags[spot.index].load(Ordering::Relaxed) == spot.tag
    }

    #[inline(always)]
    pub(crate) fn place(&self, spot: Spot) -> &Place {
        &self.table().places[spot.index]
    }

    /// Gives a place to a key that has none, if one of its choice is free or idle.
    #[cold]
    pub(crate) fn give(&self, tag: u64, now: u64, timeout: u64) -> Option<Spot> {
        let _giving = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
        let Table { tags, places } = self.table();
        if let Some(spot) = self.find(tag) {
            return Some(spot);
        }
        let free = |index: &usize| tags[*index].load(Ordering::Relaxed) == 0;
        let indices = || self.choice(tag);
        for index in indices().filter(free).chain(indices()) {
            let Some(mut desk) = places[index].free_desk() else {
                continue;
            };
            if places[index].is_idle(&desk, now, timeout) {
                // First the tokens, then the name: see `Lease::spend`.
                places[index].clear(&mut desk);
                tags[index].store(tag, Ordering::Relaxed);
                return Some(Spot { index, tag });
            }
        }
        None
    }

    #[inline(always)]
    fn choice(&self, tag: u64) -> impl Iterator<Item = usize> + use<> {
        let (mask, first) = (self.capacity - 1, (tag >> 32) as usize);
        (0..CHOICE.min(self.capacity)).map(move |step| first.wrapping_add(step) & mask)
    }

    fn table(&self) -> &Table {
        self.table.get_or_init(|| Table {
            tags: (0..self.capacity).map(|_| AtomicU64::new(0)).collect(),
            places: (0..self.capacity).map(|_| Place::new()).collect(),
        })
    }

    /// Forgets which keys Redis has no token for.
    pub(crate) fn allow_all(&self) {
        let table = self.table.get();
        let places = table.map_or(&[][..], |table| &table.places);
        places.iter().for_each(|place| place.deny_until(0));
    }

    /// Returns how many keys have a place, and how many tokens are held for them.
    pub(crate) fn count(&self, now: u64) -> (usize, u64) {
        let Some(Table { tags, places }) = self.table.get() else {
            return (0, 0);
        };
        let taken = tags.iter().zip(places);
        let taken = taken.filter(|(tag, _)| tag.load(Ordering::Relaxed) != 0);
        taken.fold((0, 0), |(keys, tokens), (_, place)| {
            (keys + 1, tokens + u64::from(place.held(now)))
        })
    }
}
