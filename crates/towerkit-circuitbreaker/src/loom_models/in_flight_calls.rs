//! [`InFlightCalls`], in which one thread expires buckets while another one ends calls or starts new ones.

use std::sync::Arc;

use loom::thread;

use super::model;
use crate::{generation::Generation, in_flight_calls::InFlightCalls};

const GENERATION: Generation = Generation::FIRST;
const AFTER: u64 = 14;

/// Two calls whose bucket expires at 15.
fn two_calls() -> Arc<InFlightCalls> {
    let in_flight = InFlightCalls::new();
    in_flight.reset(AFTER);
    assert_eq!(in_flight.insert(GENERATION, 0), (true, 0));
    assert_eq!(in_flight.insert(GENERATION, 0), (true, 0));
    Arc::new(in_flight)
}

fn expire(in_flight: &InFlightCalls, now: u64) -> u64 {
    let mut slow = 0;
    in_flight.expire(now, |generation, calls| {
        assert_eq!(generation, GENERATION);
        slow += calls;
    });
    slow
}

#[test]
fn loom_a_call_ends_or_counts_in_flight_but_not_both() {
    model(|| {
        let in_flight = two_calls();
        let other = thread::spawn({
            let in_flight = in_flight.clone();
            move || u64::from(in_flight.remove(GENERATION, 0))
        });
        let slow = expire(&in_flight, AFTER + 1);
        let left = other.join().unwrap();
        assert_eq!(slow + left, 2 - u64::from(in_flight.remove(GENERATION, 0)));
    });
}

/// Two threads expire the bucket at the same time.
#[test]
fn loom_a_call_counts_in_flight_once() {
    model(|| {
        let in_flight = two_calls();
        let other = thread::spawn({
            let in_flight = in_flight.clone();
            move || expire(&in_flight, AFTER + 1)
        });
        let slow = expire(&in_flight, AFTER + 2);
        assert_eq!(slow + other.join().unwrap(), 2);
    });
}

/// A call of the next lap replaces the bucket of earlier calls while another thread expires it.
#[test]
fn loom_the_next_lap_takes_no_earlier_call() {
    model(|| {
        let in_flight = two_calls();
        let other = thread::spawn({
            let in_flight = in_flight.clone();
            move || in_flight.insert(GENERATION, 16)
        });
        let slow = expire(&in_flight, 16);
        let (has_bucket, before) = other.join().unwrap();
        assert_eq!(slow + before, 2);
        assert_eq!(in_flight.remove(GENERATION, 16), has_bucket);
        assert!(!in_flight.remove(GENERATION, 0));
    });
}
