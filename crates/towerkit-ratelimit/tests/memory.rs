//! RL-09: ten million new keys, or a million in a build without optimisations.
//!
//! In a process of its own: it measures the memory of the process.

use std::{fs, time::Duration};

use towerkit_core::{Call, Clock, Guard, IntoPolicy, Plain};
use towerkit_ratelimit::{KeyedRateLimitLayer, Quota};

/// Returns the resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages = statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    pages * 4096
}

/// RL-09: memory does not grow, keys in use keep their buckets, and new keys get the slots of idle keys.
#[test]
fn any_number_of_keys_takes_no_more_memory_than_a_hundred_thousand() {
    const KEYS: u64 = if cfg!(debug_assertions) {
        1_000_000
    } else {
        10_000_000
    };
    const REGULARS: u64 = 100;
    let (clock, clock_control) = Clock::manual();
    let quota = Quota::per_second(10).unwrap().burst(2).unwrap();
    let layer =
        KeyedRateLimitLayer::new(quota, |call: &Call<'_, u64>| Some(*call.request)).clock(clock);
    let handle = layer.handle();
    let policy = layer.into_policy();
    let protocol = Plain::new("test");
    let admit = |mut key: u64| {
        let mut call = Call::new(&mut key, &protocol);
        policy.get().admit(&mut call).is_ok()
    };
    let first = (0..100_000).filter(|key| admit(REGULARS + key));
    assert_eq!(first.count(), 100_000);
    let before = resident();
    let mut admitted = vec![0u64; REGULARS as usize];
    for key in 0..KEYS {
        admit(1 << 32 | key);
        if key % 100 == 0 {
            // Two million new keys a second, of which no more find a slot than are idle after a tenth of a second.
            clock_control.advance(Duration::from_micros(50));
            let regular = key / 100 % REGULARS;
            admitted[regular as usize] += u64::from(admit(regular));
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more");
    // Ten a second and the burst, however many new keys came.
    let fair = 10 * KEYS / 2_000_000;
    let is_fair = |calls: &u64| (fair..=fair + 2).contains(calls);
    assert!(admitted.iter().all(is_fair), "{admitted:?}");
    let snapshot = handle.snapshot();
    assert!(
        snapshot.keys <= 200_000 && snapshot.evicted > KEYS / 10,
        "{snapshot:?}"
    );
    assert!(snapshot.overflowed > KEYS / 10, "{snapshot:?}");
}
