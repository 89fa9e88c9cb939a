//! A limit by key beside a model that keeps the whole history of every key.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::{
    Overflow,
    buckets::{Buckets, Denied},
    settings::Settings,
    table::{Claim, Table},
};
use crate::{Quota, level::Enough, meter::Source, quota::Spacing, rate::Rate, sync::AtomicU64};

const SECOND: u64 = 1_000_000_000;

fn keyed(quota: Quota, set: impl FnOnce(&mut Settings)) -> Buckets {
    let mut settings = Settings::new(quota);
    set(&mut settings);
    Buckets::new(&settings)
}

fn quota(count: u32, burst: u32) -> Quota {
    Quota::per_second(count).unwrap().burst(burst).unwrap()
}

fn source(keyed: &Buckets, key: u64) -> Source {
    keyed.source(keyed.tag(&key), 0)
}

fn take(keyed: &Buckets, key: u64, now: u64, cost: u32) -> Result<(), Denied> {
    let source = source(keyed, key);
    keyed.take(source, now, cost, || now).map(drop)
}

/// The admitted calls of one key, or of all: when, and how many tokens.
#[derive(Default)]
struct History(Vec<(u64, u32)>);

impl History {
    /// Whether so many tokens more would exceed burst + rate × time in some window that ends now.
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

    /// RL-01 for every key, however many come and go: giving a place to another key never raises a bound, and a key that keeps its
    /// place is rejected for want of tokens only.
    #[test]
    fn no_key_exceeds_its_bound_though_places_change_hands(
        count in 1..5u32,
        burst in 1..4u32,
        steps in prop::collection::vec((0..16u64, 0..SECOND / 2, 1..4u32, 0..10u32), 1..100),
    ) {
        let keyed = keyed(quota(count, burst), |settings| {
            settings.capacity = 4;
            settings.overflow = Overflow::Reject;
        });
        let mut histories = HashMap::<u64, History>::new();
        let mut was_late = HashSet::new();
        let mut now = 100 * SECOND;
        for (key, step, cost, kind) in steps {
            // Now and then a thread that is late.
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
                Err(Denied::Key(short, _)) if short.enough() == Enough::Never => {
                    prop_assert!(cost > burst);
                }
                // Rounding is against the caller, by far less than a microsecond; so is what a late call is taken for.
                Err(Denied::Key(..)) if !was_late.contains(&key) => {
                    prop_assert!(history.exceeds(count, burst, at - 1000, cost));
                }
                Err(_) => {}
            }
        }
    }

    /// RL-01 for every key, also where keys share a bucket until they get one of their own, and lose it again.
    #[test]
    fn no_key_exceeds_its_bound_though_it_shared_a_bucket(
        count in 1..5u32,
        burst in 1..4u32,
        steps in prop::collection::vec((0..40u64, 0..SECOND / 2, 1..4u32, 0..10u32), 1..150),
    ) {
        let keyed = keyed(quota(count, burst), |settings| settings.capacity = 1);
        let mut histories = HashMap::<u64, History>::new();
        let mut now = 100 * SECOND;
        for (key, step, cost, kind) in steps {
            // Now and then a thread that is late, and a cost that is known later.
            let at = if kind == 0 { now - step } else { now + step / 8 };
            now = now.max(at);
            if kind == 1 {
                keyed.charge(source(&keyed, key), at, cost);
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
    fn what_one_limit_rejects_costs_the_other_nothing(
        steps in prop::collection::vec((0..4u64, 0..SECOND / 4, 1..4u32), 1..80),
    ) {
        let (of_key, of_all) = (quota(2, 3), quota(4, 5));
        let keyed = keyed(of_key, |settings| {
            settings.capacity = 8;
            settings.total = Some(of_all);
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

/// RL-09 in small: a hundred keys fit, also when all of them are in use, and the next one shares a bucket with those that do not.
#[test]
fn keys_in_use_keep_their_places_and_others_share_a_bucket() {
    let keyed = keyed(quota(1, 2), |settings| settings.capacity = 1000);
    for key in 0..1000 {
        assert!(take(&keyed, key, SECOND, 2).is_ok());
    }
    assert_eq!((keyed.keys(), keyed.pressure.count()), (1000, 0));
    let crowd = (1000..100_000).filter(|key| take(&keyed, *key, SECOND, 2).is_ok());
    let admitted = crowd.count() as u64;
    // A place for each, as far as they go, and one call for all the others.
    assert_eq!(admitted, keyed.keys() - 1000 + 1);
    assert!(keyed.keys() <= 2008 && keyed.pressure.count() > 97_000);
    assert!((0..1000).all(|key| take(&keyed, key, SECOND, 1).is_err()));
    assert!((0..1000).all(|key| take(&keyed, key, 3 * SECOND, 2).is_ok()));
    assert_eq!(keyed.evicted(), 0);
}

/// Not even in the moment after, when there is room for it.
#[test]
fn a_key_that_shared_a_bucket_gets_no_second_burst() {
    const MILLI: u64 = SECOND / 1000;
    let keyed = keyed(quota(100, 100), |settings| settings.capacity = 1);
    // Others have a token missing, and so all the places, for 10 ms.
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

/// Also where there is no room for the key.
#[test]
fn a_call_without_room_costs_the_limit_for_all_nothing() {
    let keyed = keyed(quota(1, 1), |settings| {
        settings.capacity = 4;
        settings.overflow = Overflow::Reject;
        settings.total = Some(quota(1, 100));
    });
    let admitted = (0..1000).filter(|key| take(&keyed, *key, SECOND, 1).is_ok());
    let admitted = admitted.count() as u32;
    let left = keyed.total.as_ref().map(|total| total.available(SECOND));
    assert_eq!(left, Some(100 - admitted));
    assert_eq!(u64::from(admitted), keyed.keys());
}

/// Idle keys give way, and what they had then was a full bucket.
#[test]
fn a_full_bucket_is_forgotten_for_a_newcomer() {
    let keyed = keyed(quota(1, 1), |settings| settings.capacity = 8);
    for key in 0..1000u64 {
        let now = SECOND + key * 2 * SECOND;
        assert!(take(&keyed, key, now, 1).is_ok());
        assert!(take(&keyed, key, now, 1).is_err());
    }
    assert!(keyed.keys() <= 16);
    assert_eq!(keyed.evicted(), 1000 - keyed.keys());
    assert_eq!(keyed.pressure.count(), 0);
}

/// RL-05: a key that comes with an early timestamp, after its full bucket was forgotten at a later one, finds no full bucket.
#[test]
fn a_forgotten_bucket_comes_back_no_fuller() {
    let (table, rate) = (Table::new(8), Rate::forgetting(&quota(1, 1)));
    let claim = |tag: u64, now| {
        let make = |full_at| {
            rate.first(&AtomicU64::new(0), full_at, now, 1)
                .map(|(word, _)| (word, ()))
        };
        matches!(table.claim(tag, now, make), Ok(Claim::Made(())))
    };
    // The first may stand in either of the two sets, the others in the first one only.
    let (key, newcomer) = (0xf << 32, 16);
    assert!(claim(key, SECOND));
    for busy in 2..9 {
        assert!(claim(busy * 16, 4 * SECOND));
    }
    assert!(claim(newcomer, 3 * SECOND) && table.find(key).is_none());
    assert!(!claim(key, SECOND + SECOND / 2));
    assert!(claim(key, 3 * SECOND));
}

/// Time that jumps, as over a quiet hour, fills every bucket at once and to its brim: one of a key, the shared one and the one for all.
#[test]
fn after_a_jump_of_any_length_every_bucket_is_full() {
    for jump in [
        3600 * SECOND,
        365 * 24 * 3600 * SECOND,
        Spacing::END - 2 * SECOND,
    ] {
        let keyed = keyed(quota(1, 3), |settings| {
            settings.capacity = 1;
            settings.total = Some(quota(1, 30));
        });
        for now in [SECOND, SECOND + jump] {
            let of_key = |key| (0..9).filter(|_| take(&keyed, key, now, 1).is_ok()).count();
            // Eight keys have a place, and the others share a bucket.
            assert!((0..8).all(|key| of_key(key) == 3));
            assert_eq!((8..20).map(of_key).sum::<usize>(), 3);
            let total = keyed.total.as_ref().map(|total| total.available(now));
            assert_eq!(total, Some(3));
        }
    }
}

/// At time zero too, when nothing lies in the past.
#[test]
fn the_first_moment_of_a_clock_is_like_any_other() {
    let keyed = keyed(quota(1, 1), |settings| settings.capacity = 8);
    assert!(take(&keyed, 1, 0, 1).is_ok());
    assert!(take(&keyed, 1, 0, 1).is_err());
    assert_eq!((keyed.keys(), keyed.pressure.count()), (1, 0));
}

#[test]
fn a_cost_at_the_end_finds_its_key_also_when_it_was_forgotten() {
    let keyed = keyed(quota(1, 5), |settings| settings.capacity = 8);
    let source = source(&keyed, 7);
    keyed.charge(source, SECOND, 3);
    assert_eq!(keyed.available(source, SECOND), 2);
    keyed.charge(source, SECOND, 100);
    assert!(take(&keyed, 7, 6 * SECOND, 1).is_err());
    assert!(take(&keyed, 7, 7 * SECOND, 1).is_ok());
}

/// A change of the quota goes through all buckets, whoever calls meanwhile.
#[test]
fn a_change_reaches_every_bucket_once() {
    let keyed = keyed(quota(1, 10), |settings| settings.capacity = 1000);
    for key in 0..1000 {
        take(&keyed, key, SECOND, (key % 10) as u32).unwrap_or(());
    }
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // A bucket that holds more than a smaller burst is full once that holds, and stays so.
            let keys = (0..1000).filter(|key| key % 10 >= 5);
            for key in keys.cycle().take(20_000) {
                let available = keyed.available(source(&keyed, key), SECOND);
                assert!(available <= 10 - (key % 10) as u32);
            }
        });
        for burst in [8, 20, 7, 30, 6, 40, 5] {
            keyed.change_quota(0, quota(1, burst), SECOND).unwrap_or(());
        }
    });
    for key in (0..1000).filter(|key| key % 10 > 0) {
        let left = (10 - (key % 10) as u32).min(5);
        let available = keyed.available(source(&keyed, key), SECOND);
        assert!(
            available <= left && available + 1 >= left,
            "{key}: {available}"
        );
    }
    assert!(keyed.change_quota(1, quota(1, 1), SECOND).is_err());
    assert_eq!(keyed.quota(0), Some(quota(1, 5)));
    assert_eq!(keyed.quota(1), None);
}

/// The memory of a table is what was said.
#[test]
fn a_key_takes_32_bytes() {
    let of_a_hundred_thousand = Table::new(100_000).bytes();
    assert_eq!(of_a_hundred_thousand, 3_200_000);
}
