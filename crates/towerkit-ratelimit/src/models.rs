//! Models for loom: every interleaving of a few threads.

use std::time::Duration;

use loom::{sync::Arc, thread};

use crate::{Quota, bucket::Bucket};

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
        bucket.set_quota(quota(7, 2), SECOND);
        let admitted = caller.join().unwrap();
        assert_eq!(admitted, 2);
        // Both before the change: one of three is left. One before, one after: one of two. Both after: none.
        assert!(bucket.available(SECOND) <= 1);
        assert_eq!(bucket.available(100 * SECOND), 2);
    });
}
