use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// A map with string keys that only grows, up to a maximum. Finding a known key takes no lock and allocates no memory.
///
/// Open addressing with linear probing over [`OnceLock`] slots, of which at most half are ever filled. Entries are never removed, so two
/// threads that insert the same key reach the same slot, and an index stays valid. The maximum is a `u16`, so an index fits in a `u32`.
#[derive(Debug)]
pub(crate) struct SeriesTable<V> {
    slots: Box<[OnceLock<Box<Entry<V>>>]>,
    len: AtomicUsize,
    most: usize,
    seed: u64,
}

/// A key consists of a text and a number, such as that of a [`CallKind`](crate::call_kind::CallKind).
#[derive(Debug)]
struct Entry<V> {
    kind: u8,
    key: Box<str>,
    value: V,
}

impl<V> SeriesTable<V> {
    /// Creates a table with at most `max` entries.
    pub(crate) fn new(most: u16) -> Self {
        let most = usize::from(most);
        Self {
            slots: (0..(2 * most).next_power_of_two())
                .map(|_| OnceLock::new())
                .collect(),
            len: AtomicUsize::new(0),
            most,
            // Callers may choose the keys: without the seed they cannot choose keys that collide.
            seed: RandomState::new().hash_one(0),
        }
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Returns the value at an index that [`find`](Self::find) or [`insert`](Self::insert) returned.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&V> {
        self.slots
            .get(index as usize)?
            .get()
            .map(|entry| &entry.value)
    }

    /// Returns the index of a known key.
    #[inline]
    pub(crate) fn find(&self, kind: u8, key: &str) -> Option<u32> {
        for index in self.probe(kind, key) {
            if self.slots[index].get()?.is(kind, key) {
                return Some(index as u32);
            }
        }
        None
    }

    /// Returns the index of a key, and inserts it if it is new; `None` if the table is full.
    pub(crate) fn insert(&self, kind: u8, key: &str, value: impl Fn() -> V) -> Option<u32> {
        for index in self.probe(kind, key) {
            self.fill(index, || {
                Box::new(Entry {
                    kind,
                    key: key.into(),
                    value: value(),
                })
            });
            if self.slots[index].get()?.is(kind, key) {
                return Some(index as u32);
            }
        }
        None
    }

    /// Fills a slot, unless it or the table is full.
    fn fill(&self, index: usize, entry: impl FnOnce() -> Box<Entry<V>>) {
        if self.slots[index].get().is_some() || !self.reserve() {
            return;
        }
        let mut filled = false;
        self.slots[index].get_or_init(|| {
            filled = true;
            entry()
        });
        if !filled {
            self.len.fetch_sub(1, Relaxed);
        }
    }

    fn reserve(&self) -> bool {
        // Relaxed: the count only limits the entries; each slot publishes its own content.
        let more = |len| (len < self.most).then_some(len + 1);
        self.len.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    #[inline]
    fn probe(&self, kind: u8, key: &str) -> impl Iterator<Item = usize> {
        let slots = self.slots.len();
        let start = hash(self.seed, kind, key.as_bytes());
        (0..slots).map(move |step| start.wrapping_add(step) & (slots - 1))
    }
}

impl<V> Entry<V> {
    #[inline]
    fn is(&self, kind: u8, key: &str) -> bool {
        self.kind == kind && *self.key == *key
    }
}

/// Multiplies and folds eight bytes at a time, as [wyhash](https://github.com/wangyi-fudan/wyhash) and foldhash do.
///
/// SipHash would cost a third of the time of a whole observation. The probe is bounded and keys are few, so a weaker hash can cost time
/// but no memory.
#[inline]
fn hash(seed: u64, kind: u8, key: &[u8]) -> usize {
    let mut state = fold(seed ^ u64::from(kind) ^ ((key.len() as u64) << 8));
    let (words, rest) = key.as_chunks();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word));
    }
    // The last eight bytes include the rest, without a loop.
    state = match key.last_chunk() {
        Some(last) if !rest.is_empty() => fold(state ^ u64::from_le_bytes(*last)),
        Some(_) => state,
        None => rest
            .iter()
            .fold(state, |state, byte| fold(state ^ u64::from(*byte))),
    };
    state as usize
}

#[inline]
fn fold(word: u64) -> u64 {
    // An odd constant without a pattern: the golden ratio (Knuth 6.4).
    let product = u128::from(word) * 0x9E37_79B9_7F4A_7C15;
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, thread};

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// The model is a [`HashMap`] that rejects new keys when it is full.
        #[test]
        fn the_table_is_a_map_with_a_maximum_size(
            most in 0_u16..12,
            keys in proptest::collection::vec((0_u8..3, 0_usize..40), 0..40),
        ) {
            let table = SeriesTable::new(most);
            let mut model = HashMap::new();
            for (turn, (kind, key)) in keys.into_iter().enumerate() {
                let key = key_of(key);
                let known = model.get(&(kind, key.clone())).copied();
                let found = table.find(kind, &key).and_then(|index| table.get(index).copied());
                prop_assert_eq!(found, known);
                let room = model.len() < usize::from(most);
                let index = table.insert(kind, &key, || turn);
                let expected = known.or(room.then_some(turn));
                prop_assert_eq!(index.and_then(|index| table.get(index).copied()), expected);
                model.extend(expected.map(|turn| ((kind, key), turn)));
                prop_assert_eq!(table.len(), model.len());
            }
        }
    }

    /// Keys of every length up to 19, two of each.
    fn key_of(n: usize) -> String {
        let letters = "/users/{id}/orders/{order}/items/{item}x".chars();
        letters.skip(n % 7).take(n / 2).collect()
    }

    #[test]
    fn threads_that_insert_the_same_keys_agree() {
        let table = SeriesTable::new(100);
        let insert = || {
            let keys = (0..150).map(|n| n.to_string());
            keys.filter_map(|key| {
                table
                    .insert(0, &key, || key.clone())
                    .map(|index| (key, index))
            })
            .collect::<Vec<_>>()
        };
        let seen: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(insert)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(table.len(), 100);
        for (key, index) in seen.concat() {
            assert_eq!(table.get(index), Some(&key));
            assert_eq!(table.find(0, &key), Some(index));
        }
    }

    #[test]
    fn similar_keys_are_spread_over_the_table() {
        let table = SeriesTable::new(1000);
        for n in 0..1000 {
            table.insert(1, &format!("/orders/{n}"), || ());
        }
        let steps = |n| {
            let key = format!("/orders/{n}");
            table
                .probe(1, &key)
                .position(|index| Some(index as u32) == table.find(1, &key))
        };
        let steps: usize = (0..1000).filter_map(steps).sum();
        // Linear probing at this load takes half a step on average with a perfect hash (Knuth 6.4).
        assert!(steps < 1500, "{steps} steps");
    }
}
