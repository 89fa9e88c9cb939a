//! What a breaker allocates once it is made: nothing.

use std::{future::ready, time::Duration};

use allocation_counter::measure;
use tower::{Layer, Service, service_fn};
use towerkit_circuitbreaker::{
    CircuitBreakerLayer, CircuitBreakerPolicy, Key, KeyedCircuitBreakerLayer, OpenWhen, SlowCall,
    State,
};
use towerkit_core::{BoxError, Call, CallEnd, Clock, Guard, IntoPolicy, Outcome, Plain, Policy};

fn call(breaker: &CircuitBreakerPolicy, outcome: Outcome) {
    let protocol = Plain::new("test");
    if let Ok(held) = breaker.admit(&mut Call::new(&mut (), &protocol)) {
        breaker.finish(held, &CallEnd::new(outcome));
    }
}

/// Conditions of every kind, at which 100 failures after 100 successes open the breaker.
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
fn neither_calls_nor_rejections_nor_changes_of_state_allocate() {
    for open_when in conditions() {
        let (clock, hand) = Clock::manual();
        let layer = CircuitBreakerLayer::new().open_when(open_when).clock(clock);
        let handle = layer.handle();
        let breaker = layer.into_policy().get().clone();
        let seen = measure(|| {
            for outcome in [Outcome::Success, Outcome::Failure, Outcome::Cancelled] {
                (0..100).for_each(|_| call(&breaker, outcome));
            }
            assert_eq!(handle.state(), State::Open);
            hand.advance(Duration::from_secs(10));
            call(&breaker, Outcome::Success);
            assert_eq!(handle.state(), State::Closed);
            hand.advance(Duration::from_secs(30));
            call(&breaker, Outcome::Failure);
        });
        assert_eq!(seen.count_total, 0, "{open_when:?}");
    }
    assert!(
        measure(|| drop(Box::new(1))).count_total > 0,
        "the counter counts"
    );
}

/// A known key has its breaker; so has one that takes the place of another.
#[test]
fn a_key_allocates_once() {
    let find = |call: &Call<'_, &str>| Some(Key::new(*call.request));
    let layer = KeyedCircuitBreakerLayer::new(2, find).unwrap();
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
fn a_call_holds_sixteen_bytes() {
    assert_eq!(size_of::<<CircuitBreakerPolicy as Policy>::CallState>(), 16);
}
