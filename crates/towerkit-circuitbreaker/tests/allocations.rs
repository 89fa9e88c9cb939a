//! What a breaker allocates once it is made: nothing.

use std::time::Duration;

use allocation_counter::measure;
use towerkit_circuitbreaker::{CircuitBreaker, CircuitBreakerLayer, State, Trip};
use towerkit_core::{Call, Clock, End, Guard, Outcome, Plain, Policy};

fn call(breaker: &CircuitBreaker, outcome: Outcome) {
    let protocol = Plain::new("test");
    if let Ok(held) = breaker.admit(&mut Call::new(&mut (), &protocol)) {
        breaker.finish(held, &End::new(outcome));
    }
}

#[test]
fn neither_calls_nor_refusals_nor_changes_of_state_allocate() {
    for trip in [Trip::default(), Trip::consecutive_failures(50).unwrap()] {
        let (clock, hand) = Clock::manual();
        let breaker = CircuitBreakerLayer::new().trip(trip).clock(clock).handle();
        let seen = measure(|| {
            for outcome in [Outcome::Success, Outcome::Failure, Outcome::Cancelled] {
                (0..100).for_each(|_| call(&breaker, outcome));
            }
            assert_eq!(breaker.state(), State::Open);
            hand.advance(Duration::from_secs(10));
            call(&breaker, Outcome::Success);
            assert_eq!(breaker.state(), State::Closed);
        });
        assert_eq!(seen.count_total, 0);
    }
    assert!(
        measure(|| drop(Box::new(1))).count_total > 0,
        "the counter counts"
    );
}

#[test]
fn a_call_holds_sixteen_bytes() {
    assert_eq!(size_of::<<CircuitBreaker as Policy>::Held>(), 16);
}
