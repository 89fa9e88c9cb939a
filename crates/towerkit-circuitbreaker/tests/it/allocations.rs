//! A breaker allocates no memory after it was made.

use std::{future::ready, time::Duration};

use allocation_counter::measure;
use tower::{Layer, Service, service_fn};
use towerkit_circuitbreaker::{
    CircuitBreakerLayer, CircuitBreakerPolicy, KeyedCircuitBreakerLayer, OpenWhen, SlowCall, State,
};
use towerkit_core::{BoxError, Call, CallEnd, Clock, Guard, IntoPolicy, Outcome, Plain, Policy};

fn call(breaker: &CircuitBreakerPolicy, outcome: Outcome) {
    let protocol = Plain::new("test");
    if let Ok(call_state) = breaker.admit(&mut Call::new(&mut (), &protocol)) {
        breaker.finish(call_state, &CallEnd::new(outcome));
    }
}

/// Conditions of each kind, at which 100 failures after 100 successes open the breaker.
fn conditions() -> [OpenWhen; 6] {
    let minute = Duration::from_secs(60);
    let slow = OpenWhen::slow_rate(1.0, minute, minute, 20).unwrap();
    let in_time = OpenWhen::failure_rate(0.5, minute, 20).unwrap();
    let hanging = SlowCall::longer_than(minute).while_in_flight();
    let hanging = OpenWhen::slow_rate(1.0, hanging, minute, 20).unwrap();
    [
        OpenWhen::default(),
        OpenWhen::consecutive_failures(50).unwrap(),
        in_time,
        OpenWhen::any([in_time, slow]).unwrap(),
        OpenWhen::any([OpenWhen::default(), slow]).unwrap(),
        OpenWhen::any([OpenWhen::default(), hanging]).unwrap(),
    ]
}

#[test]
fn calls_rejections_and_changes_of_state_allocate_no_memory() {
    for open_when in conditions() {
        let (clock, clock_control) = Clock::manual();
        let layer = CircuitBreakerLayer::new().open_when(open_when).clock(clock);
        let handle = layer.handle();
        let breaker = layer.into_policy().get().clone();
        let seen = measure(|| {
            for outcome in [Outcome::Success, Outcome::Failure, Outcome::Cancelled] {
                (0..100).for_each(|_| call(&breaker, outcome));
            }
            assert_eq!(handle.state(), State::Open);
            clock_control.advance(Duration::from_secs(10));
            call(&breaker, Outcome::Success);
            assert_eq!(handle.state(), State::Closed);
            clock_control.advance(Duration::from_secs(30));
            call(&breaker, Outcome::Failure);
        });
        assert_eq!(seen.count_total, 0, "{open_when:?}");
    }
    assert!(
        measure(|| drop(Box::new(1))).count_total > 0,
        "the counter counts"
    );
}

/// A known key has a breaker, and a key that replaces an evicted one reuses its breaker.
#[test]
fn a_known_key_allocates_no_memory() {
    let by_name = |call: &Call<'_, &'static str>| Some(*call.request);
    let layer = KeyedCircuitBreakerLayer::new(2, by_name).unwrap();
    let mut service = layer.layer(service_fn(|name: &'static str| {
        ready(Ok::<_, BoxError>(name))
    }));
    let mut call = |name| measure(|| drop(service.call(name))).count_total;
    assert!(call("stock") > 0 && call("price") > 0);
    for name in ["stock", "price", "order", "stock"] {
        assert_eq!(call(name), 0, "{name}");
    }
}

#[test]
fn the_state_of_a_call_takes_sixteen_bytes() {
    assert_eq!(size_of::<<CircuitBreakerPolicy as Policy>::CallState>(), 16);
}
