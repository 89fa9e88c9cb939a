//! Calls that hang are found by one thread while another ends them, or begins the next.

use std::sync::Arc;

use loom::thread;

use super::model;
use crate::{epoch::Epoch, in_flight::InFlight};

const EPOCH: Epoch = Epoch::FIRST;
const AFTER: u64 = 14;

/// Two calls that hang from 15 on.
fn two_calls() -> Arc<InFlight> {
    let in_flight = InFlight::new();
    in_flight.restart(AFTER);
    assert_eq!(in_flight.enter(EPOCH, 0), (true, 0));
    assert_eq!(in_flight.enter(EPOCH, 0), (true, 0));
    Arc::new(in_flight)
}

fn expire(in_flight: &InFlight, now: u64) -> u64 {
    let mut hung = 0;
    in_flight.expire(now, |epoch, calls| {
        assert_eq!(epoch, EPOCH);
        hung += calls;
    });
    hung
}

#[test]
fn loom_a_call_ends_or_hangs_and_not_both() {
    model(|| {
        let in_flight = two_calls();
        let other = thread::spawn({
            let in_flight = in_flight.clone();
            move || u64::from(in_flight.leave(EPOCH, 0))
        });
        let hung = expire(&in_flight, AFTER + 1);
        let left = other.join().unwrap();
        assert_eq!(hung + left, 2 - u64::from(in_flight.leave(EPOCH, 0)));
    });
}

/// Two threads look at once.
#[test]
fn loom_a_call_hangs_once() {
    model(|| {
        let in_flight = two_calls();
        let other = thread::spawn({
            let in_flight = in_flight.clone();
            move || expire(&in_flight, AFTER + 1)
        });
        let hung = expire(&in_flight, AFTER + 2);
        assert_eq!(hung + other.join().unwrap(), 2);
    });
}

/// A call of the next turn takes the place of those before it, while another thread looks for these.
#[test]
fn loom_the_next_turn_takes_no_call_along() {
    model(|| {
        let in_flight = two_calls();
        let other = thread::spawn({
            let in_flight = in_flight.clone();
            move || in_flight.enter(EPOCH, 16)
        });
        let hung = expire(&in_flight, 16);
        let (has_place, before) = other.join().unwrap();
        assert_eq!(hung + before, 2);
        assert_eq!(in_flight.leave(EPOCH, 16), has_place);
        assert!(!in_flight.leave(EPOCH, 0));
    });
}
