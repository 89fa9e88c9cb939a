//! Models for loom: every interleaving of a few threads.

use std::time::Duration;

use loom::{
    sync::{Arc, atomic::AtomicU64},
    thread,
};

use towerkit_keyed::{Claim, KeyTable};

use crate::{
    Quota,
    atomic_gcra::AtomicGcra,
    config::BucketKey,
    keyed::{BucketSlot, KeyedBuckets, KeyedConfig},
    token_bucket::TokenBucket,
};

const SECOND: u64 = 1_000_000_000;

fn quota(per: u64, burst: u32) -> Quota {
    let quota = Quota::new(1, Duration::from_secs(per)).unwrap();
    quota.burst(burst).unwrap()
}

fn race(burst: u32, times: [[u64; 2]; 2]) -> usize {
    let bucket = Arc::new(TokenBucket::new(quota(1, burst)));
    let threads = times.map(|times| {
        let bucket = bucket.clone();
        thread::spawn(move || {
            let calls = times.iter().filter(|now| bucket.take(**now, 1).is_ok());
            calls.count()
        })
    });
    threads.into_iter().map(|t| t.join().unwrap()).sum()
}

/// RL-01, RL-05: in every interleaving of two threads with two calls each.
#[test]
fn loom_no_interleaving_creates_a_token() {
    loom::model(|| assert_eq!(race(2, [[SECOND; 2]; 2]), 2));
}

/// RL-05: with timestamps out of order.
#[test]
fn loom_an_early_timestamp_creates_no_token() {
    loom::model(|| {
        let admitted = race(1, [[2 * SECOND, SECOND], [3 * SECOND, SECOND]]);
        assert!((1..=2).contains(&admitted));
    });
}

/// Each call is judged by the old quota or by the new one: three tokens, of which two are left after a change to two.
#[test]
fn loom_a_change_creates_no_token_and_loses_none() {
    loom::model(|| {
        let bucket = Arc::new(TokenBucket::new(quota(1, 3)));
        let caller = thread::spawn({
            let bucket = bucket.clone();
            move || (0..2).filter(|_| bucket.take(SECOND, 1).is_ok()).count() as u32
        });
        bucket.set_quota(quota(7, 2), SECOND);
        let admitted = caller.join().unwrap();
        assert_eq!(admitted, 2);
        // Both before the change: one of three is left. One before, one after: one of two. Both after: none.
        assert!(bucket.available(SECOND) <= 1);
        assert_eq!(bucket.available(100 * SECOND), 2);
    });
}

/// A call that is suspended while the quota changes twice is judged by one of the three, not by the rate of one and the burst of
/// another.
#[test]
fn loom_a_call_is_judged_by_one_quota() {
    for spent in [0, 3] {
        loom::model(move || {
            let quotas = [quota(1, 3), quota(7, 2), quota(2, 5)];
            let bucket = Arc::new(TokenBucket::new(quotas[0]));
            bucket.take(SECOND, spent).unwrap();
            let caller = thread::spawn({
                let bucket = bucket.clone();
                move || match bucket.take(SECOND, 1) {
                    Ok(state) => (true, state.gcra),
                    Err(insufficient) => (false, insufficient.state.gcra),
                }
            });
            for quota in &quotas[1..] {
                bucket.set_quota(*quota, SECOND);
            }
            let (admitted, judged_by) = caller.join().unwrap();
            assert_eq!(admitted, spent == 0);
            assert!(quotas.iter().any(|quota| quota.gcra() == judged_by));
            // Before the first change: two of three are left. After it: one of two.
            let left = if admitted { 1..=2 } else { 0..=0 };
            assert!(left.contains(&bucket.available(SECOND)));
        });
    }
}

/// A table with one slot, or with two, in either of which a tag may be.
fn table(slots: usize) -> (Arc<KeyTable<BucketSlot>>, Arc<AtomicGcra>) {
    let gcra = AtomicGcra::forgetting_full_buckets(&quota(1, 1));
    (Arc::new(KeyTable::new(slots)), Arc::new(gcra))
}

/// Tags of keys that stand in the first slot.
const TAGS: [u64; 2] = [1 << 6, 2 << 6];

/// Takes the one token of a key that has a slot.
fn take(table: &KeyTable<BucketSlot>, gcra: &AtomicGcra, tag: u64, now: u64) -> bool {
    let entry = table.find(tag);
    entry.is_some_and(|entry| {
        let is_current = || entry.is_current();
        gcra.take(&entry.value.0, now, 1, is_current).is_ok()
    })
}

/// Claims a slot for a new key and takes its one token.
fn claim(table: &KeyTable<BucketSlot>, gcra: &AtomicGcra, tag: u64, now: u64) -> bool {
    let make = |full_at| {
        gcra.take_first(&AtomicU64::new(0), full_at, now, 1)
            .map(|(word, _)| (word, ()))
    };
    matches!(table.claim(tag, now, make), Ok(Claim::Made(())))
}

/// A slot that changes hands never mixes two keys: the old key takes its token and keeps the slot, or the new key has it.
#[test]
fn loom_a_slot_belongs_to_one_key() {
    loom::model(|| {
        let (table, gcra) = table(1);
        assert!(claim(&table, &gcra, TAGS[0], SECOND));
        let owner = thread::spawn({
            let (table, gcra) = (table.clone(), gcra.clone());
            move || take(&table, &gcra, TAGS[0], 3 * SECOND)
        });
        let claimed = claim(&table, &gcra, TAGS[1], 3 * SECOND);
        let taken = owner.join().unwrap();
        assert!(claimed != taken);
        let owner = if claimed { TAGS[1] } else { TAGS[0] };
        let entry = table.find(owner).unwrap();
        let state = gcra.state(&entry.value.0, 3 * SECOND, || true).unwrap();
        assert_eq!(state.tokens(), 0);
        assert_eq!(table.evicted(), u64::from(claimed));
    });
}

/// RL-05: a key that returns with an early timestamp, after it was evicted at a later one, finds no full bucket.
#[test]
fn loom_a_key_returns_after_an_eviction_with_no_more_tokens() {
    loom::model(|| {
        let (table, gcra) = table(2);
        // Empty until 2 s; at 3 s it is full and may be evicted.
        assert!(claim(&table, &gcra, TAGS[0], SECOND));
        let newcomer = thread::spawn({
            let (table, gcra) = (table.clone(), gcra.clone());
            move || claim(&table, &gcra, TAGS[1], 3 * SECOND)
        });
        let early = SECOND + SECOND / 2;
        let taken = take(&table, &gcra, TAGS[0], early) || claim(&table, &gcra, TAGS[0], early);
        assert!(!taken);
        newcomer.join().unwrap();
    });
}

/// A key without a slot takes from the shared bucket while a slot becomes vacant: it does not get that token twice.
#[test]
fn loom_a_key_that_shared_a_bucket_gets_no_second_burst() {
    loom::model(|| {
        let mut config = KeyedConfig::new(quota(1, 1));
        config.capacity = 1;
        let buckets = Arc::new(KeyedBuckets::new(&config));
        let take = |buckets: &KeyedBuckets, tag, now| {
            let taken = buckets.take(BucketKey(tag), now, 1, || now);
            taken.is_ok()
        };
        // Empty until 2 s.
        assert!(take(&buckets, TAGS[0], SECOND));
        let other = thread::spawn({
            let buckets = buckets.clone();
            move || take(&buckets, TAGS[1], SECOND + SECOND / 2)
        });
        let here = take(&buckets, TAGS[1], 2 * SECOND + 1);
        assert!(here != other.join().unwrap());
    });
}
