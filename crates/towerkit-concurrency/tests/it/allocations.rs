//! Calls that are admitted or rejected at once allocate no memory.

use std::time::Duration;

use allocation_counter::measure;
use towerkit_concurrency::{
    AcquireFuture, Adaptive, AdaptiveThrottleLayer, ConcurrencyLimitLayer, Permit, Priority,
    PriorityClass, PriorityClasses, Queue, Vegas,
};
use towerkit_core::{
    Admission, AsyncGuard, Call, CallEnd, Clock, Guard, IntoPolicy, Outcome, Plain, Policy,
};

use crate::guards::Limit;

fn call<G: Guard<()>>(guard: &G, outcome: Outcome) {
    let protocol = Plain::new("test");
    if let Ok(state) = guard.admit(&mut Call::new(&mut (), &protocol)) {
        guard.finish(state, &CallEnd::new(outcome));
    }
}

fn allocations<G: Guard<()>>(guard: &G) -> u64 {
    let seen = measure(|| {
        for outcome in [Outcome::Success, Outcome::Overloaded, Outcome::Cancelled] {
            (0..500).for_each(|_| call(guard, outcome));
        }
    });
    seen.count_total
}

#[test]
fn a_call_that_does_not_wait_does_not_allocate() {
    let fixed = ConcurrencyLimitLayer::new(1).unwrap();
    assert_eq!(allocations(fixed.clone().into_policy().get()), 0);
    let (clock, clock_control) = Clock::manual();
    let adaptive = ConcurrencyLimitLayer::adaptive(Adaptive::new(Vegas::new())).clock(clock);
    let limit = Limit::of(adaptive);
    for _ in 0..20 {
        assert_eq!(allocations(&limit), 0);
        clock_control.advance(Duration::from_secs(1));
    }
    let classes = PriorityClasses::new().partition("web", 0.5).unwrap();
    let classified = fixed.classes(classes, |_: &Call<'_, ()>| {
        PriorityClass::new(Priority::Sheddable).partition("web")
    });
    assert_eq!(allocations(classified.into_policy().get()), 0);
    assert_eq!(
        allocations(AdaptiveThrottleLayer::new().into_policy().get()),
        0
    );
}

#[test]
fn a_rejection_does_not_allocate() {
    let limit = Limit::of(ConcurrencyLimitLayer::new(1).unwrap());
    let protocol = Plain::new("test");
    let _permit = Guard::admit(&limit, &mut Call::new(&mut (), &protocol)).unwrap();
    assert_eq!(allocations(&limit), 0);
    assert_eq!(limit.rejected(), 1_500);
}

#[test]
fn a_queued_limit_does_not_allocate_while_no_call_waits() {
    let queue = Queue::new(10, Duration::from_secs(1)).unwrap();
    let limit = Limit::of(ConcurrencyLimitLayer::new(1).unwrap().queue(queue));
    let protocol = Plain::new("test");
    let seen = measure(|| {
        for _ in 0..500 {
            match AsyncGuard::admit(&limit, &mut Call::new(&mut (), &protocol)) {
                Ok(Admission::Now(permit)) => limit.finish(permit, &CallEnd::new(Outcome::Success)),
                _ => panic!("a permit is free"),
            }
        }
    });
    assert_eq!(seen.count_total, 0);
    assert!(
        measure(|| drop(Box::new(1))).count_total > 0,
        "the counter counts"
    );
}

#[test]
fn permits_and_acquire_futures_are_small() {
    assert_eq!(size_of::<Permit>(), 16);
    assert!(size_of::<AcquireFuture>() <= 88);
}
