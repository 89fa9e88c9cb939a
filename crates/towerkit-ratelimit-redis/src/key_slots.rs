use std::{cell::Cell, convert::Infallible, hash::Hash, sync::OnceLock};

use towerkit_keyed::{Entry, KeyHasher, KeyTable};

use crate::key_slot::KeySlot;

/// The slots of all keys: a [`KeyTable`], allocated by the first call.
///
/// Two keys with the same tag share the tokens of one lease, and Redis still grants no more of them.
#[derive(Debug)]
pub(crate) struct KeySlots {
    capacity: usize,
    hasher: KeyHasher,
    table: OnceLock<KeyTable<KeySlot>>,
}

/// The slot of a key and the tag of the key.
pub(crate) type SlotEntry<'a> = Entry<'a, KeySlot>;

impl KeySlots {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            hasher: KeyHasher::new(),
            table: OnceLock::new(),
        }
    }

    #[inline(always)]
    pub(crate) fn tag<K: Hash + ?Sized>(&self, key: Option<&K>) -> u64 {
        key.map_or(KeyHasher::NO_KEY, |key| self.hasher.tag(key))
    }

    #[inline(always)]
    pub(crate) fn find(&self, tag: u64) -> Option<SlotEntry<'_>> {
        self.table.get()?.find(tag)
    }

    /// Returns the slot of a key. A key without a slot gets one that is free or idle; `None` if there is no such slot.
    #[cold]
    pub(crate) fn find_or_claim(&self, tag: u64, now: u64) -> Option<SlotEntry<'_>> {
        let table = self.table.get_or_init(|| KeyTable::new(self.capacity));
        let found = table.find(tag);
        found.or_else(|| {
            let Ok(_) = table.claim(tag, now, |_| Ok::<_, Infallible>(((), ())));
            table.find(tag)
        })
    }

    /// Lets all keys ask Redis again that were denied until a later time.
    pub(crate) fn clear_denials(&self) {
        if let Some(table) = self.table.get() {
            table.for_each(|_, slot| slot.value.deny_until(0));
        }
    }

    /// Returns the number of keys that have a slot, and the number of tokens that they hold.
    pub(crate) fn count(&self, now: u64) -> (usize, u64) {
        let (keys, tokens) = (Cell::new(0), Cell::new(0));
        if let Some(table) = self.table.get() {
            table.for_each(|_, slot| {
                keys.set(keys.get() + 1);
                tokens.set(tokens.get() + u64::from(slot.value.held(now)));
            });
        }
        (keys.get(), tokens.get())
    }
}
