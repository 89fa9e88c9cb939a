//! A limit allocates no memory after it is made.

use std::time::Duration;

use allocation_counter::measure;
use towerkit_core::{
    Admission, AsyncGuard, Call, CallEnd, Clock, Guard, IntoPolicy, Outcome, Plain,
};
use towerkit_ratelimit::{DelayingRateLimitLayer, KeyedRateLimitLayer, Quota, RateLimitLayer};

const CALLS: u64 = 1000;

fn quota() -> Quota {
    Quota::per_second(500).unwrap()
}

/// Makes and ends calls, about half of which are rejected.
fn call<G: Guard<u64>>(guard: &G) {
    let protocol = Plain::new("test");
    let mut admitted = 0;
    for mut key in 0..CALLS {
        if let Ok(state) = guard.admit(&mut Call::new(&mut key, &protocol)) {
            guard.finish(state, &CallEnd::new(Outcome::Success));
            admitted += 1;
        }
    }
    assert!((1..=CALLS).contains(&admitted));
}

#[test]
fn neither_calls_nor_rejections_nor_changes_allocate() {
    let (clock, clock_control) = Clock::manual();
    let direct = RateLimitLayer::new(quota()).clock(clock.clone());
    let handle = direct.handle();
    let with_end = direct
        .clone()
        .cost(|_: &Call<'_, u64>| 2)
        .cost_at_end(|_| 1);
    let (direct, with_end) = (direct.into_policy(), with_end.into_policy());
    let seen = measure(|| {
        call(direct.get());
        handle.set_quota(Quota::per_second(7).unwrap());
        clock_control.advance(Duration::from_secs(5));
        call(with_end.get());
    });
    assert_eq!(seen.count_total, 0);
    assert!(
        measure(|| drop(Box::new(1))).count_total > 0,
        "the counter counts"
    );
}

#[test]
fn neither_known_keys_nor_new_keys_allocate() {
    let (clock, clock_control) = Clock::manual();
    let quota = Quota::per_second(1).unwrap();
    let layer = KeyedRateLimitLayer::new(quota, |call: &Call<'_, u64>| Some(*call.request))
        .clock(clock)
        .capacity(100)
        .unwrap()
        .total(Quota::per_second(500).unwrap());
    let handle = layer.handle();
    handle.set_override(&1u64, quota).unwrap();
    let limit = layer.into_policy();
    let seen = measure(|| {
        call(limit.get());
        clock_control.advance(Duration::from_secs(2));
        call(limit.get());
        clock_control.advance(Duration::from_secs(2));
        handle.set_quota(0, Quota::per_second(2).unwrap()).unwrap();
        call(limit.get());
    });
    assert_eq!(seen.count_total, 0);
}

#[test]
fn a_call_that_is_admitted_at_once_does_not_allocate() {
    let layer = DelayingRateLimitLayer::new(quota(), Duration::from_secs(1)).unwrap();
    let limit = layer.into_policy();
    let protocol = Plain::new("test");
    let seen = measure(|| {
        for mut key in 0..400u64 {
            let admitted = limit.get().admit(&mut Call::new(&mut key, &protocol));
            assert!(matches!(admitted, Ok(Admission::Now(()))));
        }
    });
    assert_eq!(seen.count_total, 0);
}
