//! Models for loom: every interleaving of a few threads.

use std::convert::Infallible;

use loom::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crate::{Claim, KeyTable, SlotValue};

/// A slot that its key needs until a point in time.
#[derive(Debug)]
struct Lease(AtomicU64);

const RETIRED: u64 = u64::MAX;

impl Default for Lease {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl SlotValue for Lease {
    type Initial = u64;

    fn idle_mark(&self, now: u64, is_owned: bool) -> Option<u64> {
        let until = self.0.load(Ordering::Relaxed);
        (until != RETIRED && (!is_owned || until < now)).then_some(until)
    }

    fn retire(&self, mark: u64) -> bool {
        // Acquire, Release: later steps stay later, earlier steps stay earlier.
        let exchange = self
            .0
            .compare_exchange(mark, RETIRED, Ordering::AcqRel, Ordering::Relaxed);
        exchange.is_ok()
    }

    fn set(&self, until: u64) {
        self.0.store(until, Ordering::Release);
    }
}

/// A table with one slot, or with two, in either of which a tag may be.
fn table(slots: usize) -> Arc<KeyTable<Lease>> {
    Arc::new(KeyTable::new(slots))
}

/// Tags of keys that stand in the first slot. Claims of the first and the third share a lock.
const TAGS: [u64; 3] = [1 << 6, 2 << 6, 3 << 6];

fn claim(table: &KeyTable<Lease>, tag: u64, now: u64) -> bool {
    let Ok(claim) = table.claim(tag, now, |_| Ok::<_, Infallible>((now + 10, ())));
    matches!(claim, Claim::Made(()))
}

/// Extends the lease of a key, as a call does: reads the value, checks the owner, exchanges the value.
fn extend(table: &KeyTable<Lease>, tag: u64, until: u64) -> bool {
    let Some(entry) = table.find(tag) else {
        return false;
    };
    let seen = entry.value.0.load(Ordering::Acquire);
    seen != RETIRED
        && entry.is_current()
        && entry
            .value
            .0
            .compare_exchange(seen, until, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
}

/// A slot that changes hands never mixes two keys: the old key extends its lease and keeps the slot, or the new key has it.
#[test]
fn loom_a_slot_belongs_to_one_key() {
    loom::model(|| {
        let table = table(1);
        assert!(claim(&table, TAGS[0], 100));
        let old = thread::spawn({
            let table = table.clone();
            move || extend(&table, TAGS[0], 500)
        });
        let claimed = claim(&table, TAGS[1], 200);
        let extended = old.join().unwrap();
        assert!(claimed != extended);
        let (owner, until) = if claimed {
            (TAGS[1], 210)
        } else {
            (TAGS[0], 500)
        };
        let entry = table.find(owner).unwrap();
        assert_eq!(entry.value.0.load(Ordering::Relaxed), until);
        assert_eq!(table.evicted(), u64::from(claimed));
    });
}

/// Two threads claim a slot for one key: it gets one.
#[test]
fn loom_a_key_has_one_slot() {
    const EITHER: u64 = 0xf << 32;
    loom::model(|| {
        let table = table(2);
        let other = thread::spawn({
            let table = table.clone();
            move || claim(&table, EITHER, 100)
        });
        let one = claim(&table, EITHER, 100);
        assert!(one != other.join().unwrap());
        assert_eq!(table.keys(), 1);
    });
}

/// Two new keys claim one vacant slot: one of them gets it.
#[test]
fn loom_two_new_keys_do_not_share_a_slot() {
    loom::model(|| {
        let table = table(1);
        assert!(claim(&table, TAGS[0], 100));
        let other = thread::spawn({
            let table = table.clone();
            move || claim(&table, TAGS[1], 200)
        });
        let one = claim(&table, TAGS[2], 200);
        assert!(one != other.join().unwrap());
    });
}
