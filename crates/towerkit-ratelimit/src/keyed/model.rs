//! The buckets of a keyed limit beside a model with the whole history of each key.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use towerkit_keyed::{Claim, KeyTable, WhenFull};

use super::{
    buckets::{Denied, KeyedBuckets},
    config::KeyedConfig,
    slot::BucketSlot,
};
use crate::{Quota, atomic_gcra::AtomicGcra, config::BucketKey, gcra::Gcra, sync::AtomicU64};

const SECOND: u64 = 1_000_000_000;

fn keyed(quota: Quota, set: impl FnOnce(&mut KeyedConfig)) -> KeyedBuckets {
    let mut config = KeyedConfig::new(quota);
    set(&mut config);
    KeyedBuckets::new(&config)
}

fn quota(count: u32, burst: u32) -> Quota {
    Quota::per_second(count).unwrap().burst(burst).unwrap()
}

fn bucket_key(keyed: &KeyedBuckets, key: u64) -> BucketKey {
    // Spreads small numbers over the bits of a tag.
    let tag = (key.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 32) & !15;
    keyed.key(tag, 0)
}

fn take(keyed: &KeyedBuckets, key: u64, now: u64, cost: u32) -> Result<(), Denied<'_>> {
    let key = bucket_key(keyed, key);
    keyed.take(key, now, cost, || now).map(drop)
}

/// The times and the costs of the admitted calls of one key, or of all keys.
#[derive(Default)]
struct History(Vec<(u64, u32)>);

impl History {
    /// Returns true if `cost` more tokens would exceed burst + rate × time in a window that ends now.
    fn exceeds(&self, count: u32, burst: u32, now: u64, cost: u32) -> bool {
        let mut tokens = i128::from(cost);
        let excess = |tokens: i128, since: u64| {
            let time = i128::from(now) - i128::from(since);
            (tokens - i128::from(burst)) * i128::from(SECOND) - time * i128::from(count)
        };
        let mut worst = excess(tokens, now);
        for (at, cost) in self.0.iter().rev() {
            tokens += i128::from(*cost);
            worst = worst.max(excess(tokens, *at));
        }
        worst > 0
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// RL-01 for each key, however many come and go: an eviction never raises a bound, and a key that keeps its slot is rejected only
    /// if tokens are missing.
    #[test]
    fn no_key_exceeds_its_bound_while_keys_are_evicted(
        count in 1..5u32,
        burst in 1..4u32,
        steps in prop::collection::vec((0..16u64, 0..SECOND / 2, 1..4u32, 0..10u32), 1..100),
    ) {
        let keyed = keyed(quota(count, burst), |config| {
            config.capacity = 4;
            config.when_full = WhenFull::Reject;
        });
        let mut histories = HashMap::<u64, History>::new();
        let mut was_late = HashSet::new();
        let mut now = 100 * SECOND;
        for (key, step, cost, kind) in steps {
            // Sometimes a thread is late.
            let at = if kind == 0 { now - step } else { now + step / 8 };
            now = now.max(at);
            if kind == 0 {
                was_late.insert(key);
            }
            let history = histories.entry(key).or_default();
            match take(&keyed, key, at, cost) {
                Ok(()) => {
                    let at = history.0.last().map_or(at, |(last, _)| at.max(*last));
                    prop_assert!(!history.exceeds(count, burst, at, cost));
                    history.0.push((at, cost));
                }
                Err(Denied::ByKey(insufficient, _)) if insufficient.retry_after().is_none() => {
                    prop_assert!(cost > burst);
                }
                // Rounding is against the caller, by far less than a microsecond.
                Err(Denied::ByKey(..)) if !was_late.contains(&key) => {
                    prop_assert!(history.exceeds(count, burst, at - 1000, cost));
                }
                Err(_) => {}
            }
        }
    }

    /// RL-01 for each key, also if keys share a bucket until they get a slot, and lose it again.
    #[test]
    fn no_key_exceeds_its_bound_after_it_shared_a_bucket(
        count in 1..5u32,
        burst in 1..4u32,
        steps in prop::collection::vec((0..40u64, 0..SECOND / 2, 1..4u32, 0..10u32), 1..150),
    ) {
        let keyed = keyed(quota(count, burst), |config| config.capacity = 1);
        let mut histories = HashMap::<u64, History>::new();
        let mut now = 100 * SECOND;
        for (key, step, cost, kind) in steps {
            // Sometimes a thread is late, or a cost is known later.
            let at = if kind == 0 { now - step } else { now + step / 8 };
            now = now.max(at);
            if kind == 1 {
                keyed.charge(bucket_key(&keyed, key), at, cost);
            } else if take(&keyed, key, at, cost).is_ok() {
                let history = histories.entry(key).or_default();
                let at = history.0.last().map_or(at, |(last, _)| at.max(*last));
                prop_assert!(!history.exceeds(count, burst, at, cost));
                history.0.push((at, cost));
            }
        }
    }

    /// A call passes both limits or takes from neither.
    #[test]
    fn a_call_rejected_by_one_limit_costs_the_other_no_token(
        steps in prop::collection::vec((0..4u64, 0..SECOND / 4, 1..4u32), 1..80),
    ) {
        let (of_key, of_all) = (quota(2, 3), quota(4, 5));
        let keyed = keyed(of_key, |config| {
            config.capacity = 8;
            config.total = Some(of_all);
        });
        let mut histories = HashMap::<u64, History>::new();
        let mut all = History::default();
        let mut now = 100 * SECOND;
        for (key, step, cost) in steps {
            now += step;
            let history = histories.entry(key).or_default();
            let fits = |at| {
                !history.exceeds(2, 3, at, cost) && !all.exceeds(4, 5, at, cost)
            };
            let admitted = take(&keyed, key, now, cost).is_ok();
            // Rounding is against the caller, by far less than a microsecond.
            let is_right = if admitted { fits(now) } else { !fits(now - 1000) };
            prop_assert!(is_right);
            if admitted {
                history.0.push((now, cost));
                all.0.push((now, cost));
            }
        }
    }
}

/// RL-09 in small: as many keys as the capacity have a slot, also if all of them are in use, and the others share a bucket.
#[test]
fn keys_in_use_keep_their_slots_and_others_share_a_bucket() {
    let keyed = keyed(quota(1, 2), |config| config.capacity = 1000);
    for key in 0..1000 {
        assert!(take(&keyed, key, SECOND, 2).is_ok());
    }
    assert_eq!((keyed.keys(), keyed.reporter.overflowed()), (1000, 0));
    let crowd = (1000..100_000).filter(|key| take(&keyed, *key, SECOND, 2).is_ok());
    let admitted = crowd.count() as u64;
    // One call for each key with a slot, and one for all the others.
    assert_eq!(admitted, keyed.keys() - 1000 + 1);
    assert!(keyed.keys() <= 2008 && keyed.reporter.overflowed() > 97_000);
    assert!((0..1000).all(|key| take(&keyed, key, SECOND, 1).is_err()));
    assert!((0..1000).all(|key| take(&keyed, key, 3 * SECOND, 2).is_ok()));
    assert_eq!(keyed.evicted(), 0);
}

/// Not even at the moment after, when a slot is vacant.
#[test]
fn a_key_that_shared_a_bucket_gets_no_second_burst() {
    const MILLI: u64 = SECOND / 1000;
    let keyed = keyed(quota(100, 100), |config| config.capacity = 1);
    // Other keys miss a token, and so keep all the slots for 10 ms.
    assert!((1..=8).all(|key| take(&keyed, key, SECOND, 1).is_ok()));
    let calls = |now| {
        let admitted = (0..500).filter(|_| take(&keyed, 0, now, 1).is_ok());
        admitted.count()
    };
    let shared = calls(SECOND + MILLI);
    assert_eq!((shared, keyed.evicted()), (100, 0));
    let own = calls(SECOND + 12 * MILLI);
    assert_eq!((own, keyed.evicted()), (1, 1));
}

/// A late call of an evicted key takes from the shared bucket as if it came at the time of the last eviction.
#[test]
fn a_late_call_without_a_slot_counts_from_the_last_eviction() {
    let keyed = keyed(quota(1, 3), |config| config.capacity = 1);
    assert!((0..8).all(|key| take(&keyed, key, 10 * SECOND, 3).is_ok()));
    assert!((8..16).all(|key| take(&keyed, key, 14 * SECOND, 3).is_ok()));
    assert_eq!((keyed.keys(), keyed.evicted()), (8, 8));
    assert!(take(&keyed, 0, 12 * SECOND + SECOND / 2, 1).is_ok());
    assert!(take(&keyed, 0, 14 * SECOND + SECOND / 10, 3).is_err());
    assert!(take(&keyed, 0, 15 * SECOND, 3).is_ok());
}

/// Also if the key has no slot.
#[test]
fn a_call_without_a_slot_costs_the_total_no_token() {
    let keyed = keyed(quota(1, 1), |config| {
        config.capacity = 4;
        config.when_full = WhenFull::Reject;
        config.total = Some(quota(1, 100));
    });
    let admitted = (0..1000).filter(|key| take(&keyed, *key, SECOND, 1).is_ok());
    let admitted = admitted.count() as u32;
    let left = keyed.total.as_ref().map(|total| total.available(SECOND));
    assert_eq!(left, Some(100 - admitted));
    assert_eq!(u64::from(admitted), keyed.keys());
}

/// Idle keys are evicted, and had a full bucket then.
#[test]
fn a_key_with_a_full_bucket_is_evicted_for_a_new_key() {
    let keyed = keyed(quota(1, 1), |config| config.capacity = 8);
    for key in 0..1000u64 {
        let now = SECOND + key * 2 * SECOND;
        assert!(take(&keyed, key, now, 1).is_ok());
        assert!(take(&keyed, key, now, 1).is_err());
    }
    assert!(keyed.keys() <= 16);
    assert_eq!(keyed.evicted(), 1000 - keyed.keys());
    assert_eq!(keyed.reporter.overflowed(), 0);
}

/// RL-05: a key that returns with an early timestamp, after it was evicted at a later one, finds no full bucket.
#[test]
fn a_key_returns_after_an_eviction_with_no_more_tokens() {
    let (table, gcra) = (
        KeyTable::<BucketSlot>::new(8),
        AtomicGcra::forgetting_full_buckets(&quota(1, 1)),
    );
    let claim = |tag: u64, now| {
        let make = |full_at| {
            gcra.take_first(&AtomicU64::new(0), full_at, now, 1)
                .map(|(word, _)| (word, ()))
        };
        matches!(table.claim(tag, now, make), Ok(Claim::Made(())))
    };
    // The first key may be in either of the two sets, the others only in the first.
    let (key, newcomer) = (0xf << 32, 16);
    assert!(claim(key, SECOND));
    for busy in 2..9 {
        assert!(claim(busy * 16, 4 * SECOND));
    }
    assert!(claim(newcomer, 3 * SECOND) && table.find(key).is_none());
    assert!(!claim(key, SECOND + SECOND / 2));
    assert!(claim(key, 3 * SECOND));
}

/// A jump of the time fills the bucket of a key, the shared bucket and the bucket for all keys.
#[test]
fn after_a_jump_of_any_length_every_bucket_is_full() {
    for jump in [
        3600 * SECOND,
        365 * 24 * 3600 * SECOND,
        Gcra::END - 2 * SECOND,
    ] {
        let keyed = keyed(quota(1, 3), |config| {
            config.capacity = 1;
            config.total = Some(quota(1, 30));
        });
        for now in [SECOND, SECOND + jump] {
            let of_key = |key| (0..9).filter(|_| take(&keyed, key, now, 1).is_ok()).count();
            // Eight keys have a slot, and the others share a bucket.
            assert!((0..8).all(|key| of_key(key) == 3));
            assert_eq!((8..20).map(of_key).sum::<usize>(), 3);
            let total = keyed.total.as_ref().map(|total| total.available(now));
            assert_eq!(total, Some(3));
        }
    }
}

/// Also at time zero.
#[test]
fn the_limit_holds_at_time_zero() {
    let keyed = keyed(quota(1, 1), |config| config.capacity = 8);
    assert!(take(&keyed, 1, 0, 1).is_ok());
    assert!(take(&keyed, 1, 0, 1).is_err());
    assert_eq!((keyed.keys(), keyed.reporter.overflowed()), (1, 0));
}

#[test]
fn a_cost_at_the_end_is_charged_to_an_evicted_key() {
    let keyed = keyed(quota(1, 5), |config| config.capacity = 8);
    let key = bucket_key(&keyed, 7);
    keyed.charge(key, SECOND, 3);
    assert_eq!(keyed.available(key, SECOND), 2);
    keyed.charge(key, SECOND, 100);
    assert!(take(&keyed, 7, 6 * SECOND, 1).is_err());
    assert!(take(&keyed, 7, 7 * SECOND, 1).is_ok());
}

/// A change of the quota converts all buckets, while calls go on.
#[test]
fn a_change_of_the_quota_converts_each_bucket_once() {
    let keyed = keyed(quota(1, 10), |config| config.capacity = 1000);
    for key in 0..1000 {
        take(&keyed, key, SECOND, (key % 10) as u32).unwrap_or(());
    }
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // A bucket with more tokens than a smaller burst is full then, and stays full.
            let keys = (0..1000).filter(|key| key % 10 >= 5);
            for key in keys.cycle().take(20_000) {
                let available = keyed.available(bucket_key(&keyed, key), SECOND);
                assert!(available <= 10 - (key % 10) as u32);
            }
        });
        for burst in [8, 20, 7, 30, 6, 40, 5] {
            keyed.set_quota(0, quota(1, burst), SECOND).unwrap_or(());
        }
    });
    for key in (0..1000).filter(|key| key % 10 > 0) {
        let left = (10 - (key % 10) as u32).min(5);
        let available = keyed.available(bucket_key(&keyed, key), SECOND);
        assert!(
            available <= left && available + 1 >= left,
            "{key}: {available}"
        );
    }
    assert!(keyed.set_quota(1, quota(1, 1), SECOND).is_err());
    assert_eq!(keyed.quota(0), Some(quota(1, 5)));
    assert_eq!(keyed.quota(1), None);
}

/// A slot has the tag and the word, and there are two slots for each key of the capacity.
#[test]
fn a_key_takes_32_bytes() {
    assert_eq!(KeyTable::<BucketSlot>::new(100_000).bytes(), 3_200_000);
}
