//! The table beside a model: a map from keys to the time until which each needs its slot.

use std::{collections::HashMap, convert::Infallible};

use proptest::prelude::*;

use crate::{
    Claim, KeyTable, SlotValue,
    sync::{AtomicU64, Ordering::Relaxed},
};

/// A slot that its key needs until a point in time. The number is in the second word, so that a mix-up of two keys shows.
#[derive(Default)]
struct Lease {
    until: AtomicU64,
    number: AtomicU64,
}

const RETIRED: u64 = u64::MAX;

impl SlotValue for Lease {
    type Initial = (u64, u64);

    fn idle_mark(&self, now: u64, is_owned: bool) -> Option<u64> {
        let until = self.until.load(Relaxed);
        (until != RETIRED && (!is_owned || until < now)).then_some(until)
    }

    fn retire(&self, mark: u64) -> bool {
        let exchange = self.until.compare_exchange(mark, RETIRED, Relaxed, Relaxed);
        exchange.is_ok()
    }

    fn set(&self, (until, number): (u64, u64)) {
        self.number.store(number, Relaxed);
        self.until.store(until, Relaxed);
    }
}

fn claim(table: &KeyTable<Lease>, tag: u64, now: u64, until: u64) -> bool {
    let Ok(claim) = table.claim(tag, now, |_| Ok::<_, Infallible>(((until, tag), ())));
    matches!(claim, Claim::Made(()))
}

/// Hashes small numbers to tags, by [SplitMix64](https://prng.di.unimi.it/splitmix64.c).
fn tag(key: u64) -> u64 {
    let hash = (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash ^ (hash >> 31)) | 32) & !15
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// However many keys come and go, a key keeps its slot while it needs it, has one slot only, and finds its own value there.
    #[test]
    fn a_key_keeps_its_slot_while_it_needs_it(
        capacity in 1..20usize,
        steps in prop::collection::vec((0..60u64, 0..3u64, 0..20u64), 1..200),
    ) {
        let table = KeyTable::<Lease>::new(capacity);
        let mut needed_until = HashMap::<u64, u64>::new();
        let mut now = 100;
        for (key, step, lease) in steps {
            now += step;
            let tag = tag(key);
            match table.find(tag) {
                Some(entry) => {
                    prop_assert_eq!(entry.value.number.load(Relaxed), tag);
                    entry.value.until.store(now + lease, Relaxed);
                    needed_until.insert(tag, now + lease);
                }
                None => {
                    prop_assert!(needed_until.get(&tag).is_none_or(|until| *until < now));
                    let evicted = table.evicted();
                    let is_claimed = claim(&table, tag, now, now + lease);
                    prop_assert!(table.evicted() == evicted || table.evicted_at() == now);
                    if is_claimed {
                        needed_until.insert(tag, now + lease);
                    } else {
                        needed_until.remove(&tag);
                        let busy = needed_until.values().filter(|until| **until >= now);
                        prop_assert!(busy.count() >= 4, "a slot was vacant");
                    }
                }
            }
            let busy = needed_until.iter().filter(|(_, until)| **until >= now);
            for (tag, _) in busy {
                prop_assert!(table.find(*tag).is_some_and(|entry| entry.is_current()));
            }
        }
        let slots = AtomicU64::new(0);
        let owners = std::sync::Mutex::new(HashMap::new());
        table.for_each(|tag, _| {
            slots.fetch_add(1, Relaxed);
            *owners.lock().unwrap().entry(tag).or_insert(0) += 1;
        });
        prop_assert_eq!(slots.into_inner(), table.keys());
        prop_assert!(owners.into_inner().unwrap().values().all(|slots| *slots == 1));
    }
}

/// The table has room for as many keys as it was made for, and never for more than twice as many.
#[test]
fn a_table_has_room_for_its_capacity() {
    let table = KeyTable::<Lease>::new(1000);
    let keys = (0..100_000).filter(|key| claim(&table, tag(*key), 1, 100));
    let admitted: Vec<_> = keys.collect();
    assert!((0..1000).all(|key| admitted.contains(&key)));
    assert!(
        (1000..=2000).contains(&admitted.len()),
        "{}",
        admitted.len()
    );
    assert_eq!((table.keys(), table.evicted()), (admitted.len() as u64, 0));
}

/// A slot whose value has eight bytes takes sixteen, and there are two slots for each key of the capacity.
#[test]
fn a_key_with_a_value_of_eight_bytes_takes_32_bytes() {
    #[derive(Default)]
    struct Word(#[expect(dead_code, reason = "measured")] AtomicU64);

    impl SlotValue for Word {
        type Initial = ();

        fn idle_mark(&self, _now: u64, _is_owned: bool) -> Option<u64> {
            None
        }

        fn retire(&self, _mark: u64) -> bool {
            false
        }

        fn set(&self, (): ()) {}
    }

    assert_eq!(KeyTable::<Word>::new(100_000).bytes(), 3_200_000);
}
