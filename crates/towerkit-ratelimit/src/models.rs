//! Models for loom: every interleaving of a few threads.

use std::time::Duration;

use loom::{
    sync::{Arc, atomic::AtomicU64},
    thread,
};

use crate::{
    Quota,
    bucket::Bucket,
    keyed::{Buckets, Claim, Settings, Table},
    meter::Source,
    rate::Rate,
};

const SECOND: u64 = 1_000_000_000;

fn quota(per: u64, burst: u32) -> Quota {
    let quota = Quota::new(1, Duration::from_secs(per)).unwrap();
    quota.burst(burst).unwrap()
}

fn race(burst: u32, times: [[u64; 2]; 2]) -> usize {
    let bucket = Arc::new(Bucket::new(quota(1, burst)));
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
fn loom_no_interleaving_mints_a_token() {
    loom::model(|| assert_eq!(race(2, [[SECOND; 2]; 2]), 2));
}

/// RL-05: timestamps that arrive out of order.
#[test]
fn loom_an_early_timestamp_mints_no_token() {
    loom::model(|| {
        let admitted = race(1, [[2 * SECOND, SECOND], [3 * SECOND, SECOND]]);
        assert!((1..=2).contains(&admitted));
    });
}

/// Every call is judged by the old quota or by the new one: three tokens of which two are left after a change to two.
#[test]
fn loom_a_change_makes_no_token_and_loses_none() {
    loom::model(|| {
        let bucket = Arc::new(Bucket::new(quota(1, 3)));
        let caller = thread::spawn({
            let bucket = bucket.clone();
            move || (0..2).filter(|_| bucket.take(SECOND, 1).is_ok()).count() as u32
        });
        bucket.change_quota(quota(7, 2), SECOND);
        let admitted = caller.join().unwrap();
        assert_eq!(admitted, 2);
        // Both before the change: one of three is left. One before, one after: one of two. Both after: none.
        assert!(bucket.available(SECOND) <= 1);
        assert_eq!(bucket.available(100 * SECOND), 2);
    });
}

/// A call that is held up while the quota changes twice goes by one of the three, and not by the rate of one and the burst of another.
#[test]
fn loom_a_call_goes_by_one_quota() {
    for spent in [0, 3] {
        loom::model(move || {
            let quotas = [quota(1, 3), quota(7, 2), quota(2, 5)];
            let bucket = Arc::new(Bucket::new(quotas[0]));
            bucket.take(SECOND, spent).unwrap();
            let caller = thread::spawn({
                let bucket = bucket.clone();
                move || match bucket.take(SECOND, 1) {
                    Ok(level) => (true, level.spacing),
                    Err(short) => (false, short.level.spacing),
                }
            });
            for quota in &quotas[1..] {
                bucket.change_quota(*quota, SECOND);
            }
            let (admitted, went_by) = caller.join().unwrap();
            assert_eq!(admitted, spent == 0);
            assert!(quotas.iter().any(|quota| quota.spacing() == went_by));
            // Before the first change: two of three are left. After it: one of two.
            let left = if admitted { 1..=2 } else { 0..=0 };
            assert!(left.contains(&bucket.available(SECOND)));
        });
    }
}

/// A table with one place, or with two, of which a tag may stand in either.
fn table(places: usize) -> (Arc<Table>, Arc<Rate>) {
    let rate = Rate::forgetting(&quota(1, 1));
    (Arc::new(Table::new(places)), Arc::new(rate))
}

/// Tags of keys that stand in the first place. Newcomers with the first and the third share a lock.
const TAGS: [u64; 3] = [1 << 6, 2 << 6, 3 << 6];

/// The tag of a key that may stand in the first place or in the second.
const EITHER: u64 = 0xf << 4;

/// Takes the one token of a key that has a place.
fn take(table: &Table, rate: &Rate, tag: u64, now: u64) -> bool {
    let place = table.find(tag);
    place.is_some_and(|place| rate.take(place.word, now, 1, || place.is_ours()).is_ok())
}

/// Gives a newcomer a place and takes its one token.
fn claim(table: &Table, rate: &Rate, tag: u64, now: u64) -> bool {
    let make = |full_at| {
        rate.first(&AtomicU64::new(0), full_at, now, 1)
            .map(|(word, _)| (word, ()))
    };
    matches!(table.claim(tag, now, make), Ok(Claim::Made(())))
}

fn has_token(table: &Table, rate: &Rate, tag: u64, now: u64) -> Option<bool> {
    let level = rate.look(table.find(tag)?.word, now, || true)?;
    Some(level.tokens() > 0)
}

/// A place that changes hands never mixes two keys: either the old owner takes its token and keeps its place, or the newcomer has it.
#[test]
fn loom_a_place_belongs_to_one_key() {
    loom::model(|| {
        let (table, rate) = table(1);
        assert!(claim(&table, &rate, TAGS[0], SECOND));
        let owner = thread::spawn({
            let (table, rate) = (table.clone(), rate.clone());
            move || take(&table, &rate, TAGS[0], 3 * SECOND)
        });
        let claimed = claim(&table, &rate, TAGS[1], 3 * SECOND);
        let taken = owner.join().unwrap();
        assert!(claimed != taken);
        let owner = if claimed { TAGS[1] } else { TAGS[0] };
        assert_eq!(has_token(&table, &rate, owner, 3 * SECOND), Some(false));
        assert_eq!(table.evicted(), u64::from(claimed));
    });
}

/// Two threads with the first calls of one key: one place, one token.
#[test]
fn loom_a_key_has_one_place() {
    loom::model(|| {
        let (table, rate) = table(2);
        let other = thread::spawn({
            let (table, rate) = (table.clone(), rate.clone());
            move || claim(&table, &rate, EITHER << 28, SECOND)
        });
        let one = claim(&table, &rate, EITHER << 28, SECOND);
        assert!(one != other.join().unwrap());
        assert_eq!(table.keys(), 1);
    });
}

/// Two newcomers and one place whose bucket is full.
#[test]
fn loom_newcomers_do_not_share_a_place() {
    loom::model(|| {
        let (table, rate) = table(1);
        assert!(claim(&table, &rate, TAGS[0], SECOND));
        let other = thread::spawn({
            let (table, rate) = (table.clone(), rate.clone());
            move || claim(&table, &rate, TAGS[1], 3 * SECOND)
        });
        let one = claim(&table, &rate, TAGS[2], 3 * SECOND);
        assert!(one != other.join().unwrap());
    });
}

/// RL-05: a key that comes back with an early timestamp, after its full bucket was forgotten at a later one, finds no full bucket.
#[test]
fn loom_a_forgotten_bucket_comes_back_no_fuller() {
    loom::model(|| {
        let (table, rate) = table(2);
        // Empty until 2 s; at 3 s it is full and may be forgotten.
        assert!(claim(&table, &rate, TAGS[0], SECOND));
        let newcomer = thread::spawn({
            let (table, rate) = (table.clone(), rate.clone());
            move || claim(&table, &rate, TAGS[1], 3 * SECOND)
        });
        let early = SECOND + SECOND / 2;
        let taken = take(&table, &rate, TAGS[0], early) || claim(&table, &rate, TAGS[0], early);
        assert!(!taken);
        newcomer.join().unwrap();
    });
}

/// A key without room that takes from the shared bucket while a place becomes vacant: what it took there it has no second time.
#[test]
fn loom_a_key_that_shared_a_bucket_gets_no_second_burst() {
    loom::model(|| {
        let mut settings = Settings::new(quota(1, 1));
        settings.capacity = 1;
        let buckets = Arc::new(Buckets::new(&settings));
        let take = |buckets: &Buckets, tag, now| {
            let taken = buckets.take(Source(tag), now, 1, || now);
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
