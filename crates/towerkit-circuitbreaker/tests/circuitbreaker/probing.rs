//! Half-open: probes, and results from before.

use std::{sync::Barrier, thread};

use towerkit_circuitbreaker::State;
use towerkit_test::Act;

use crate::setup::{Calling, OPEN_FOR, Setup, consecutive, ended};

/// GK-BR-2: who waits as told is a probe; its success closes the breaker, its failure opens it for another full time.
#[test]
fn a_probe_closes_or_reopens() {
    let setup = Setup::consecutive();
    setup.open();
    for _ in 0..3 {
        setup.hand.advance(setup.refused().unwrap());
        setup.fail(1);
        assert_eq!(setup.breaker.state(), State::Open);
        assert_eq!(setup.refused(), Some(OPEN_FOR));
    }
    setup.hand.advance(OPEN_FOR);
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-01
#[test]
fn no_more_probes_than_allowed_reach_the_service_whoever_comes_at_once() {
    for probes in [1, 3, 10] {
        for _ in 0..10 {
            let setup = Setup::half_open(probes);
            let before = setup.ledger.started();
            let start = Barrier::new(64);
            let calls: Vec<Calling> = thread::scope(|scope| {
                let call = || {
                    start.wait();
                    setup.start(Act::Succeed)
                };
                let threads: Vec<_> = (0..64).map(|_| scope.spawn(call)).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .collect()
            });
            let limit = u64::from(probes);
            assert_eq!(setup.ledger.started() - before, limit);
            assert_eq!(setup.breaker.snapshot().probes_in_flight, probes);
            let served = calls.into_iter().filter_map(|call| ended(call).ok());
            assert_eq!(served.count() as u64, limit);
            assert_eq!(setup.breaker.state(), State::Closed);
        }
    }
}

/// CB-01: a probe that has succeeded keeps its place until the breaker closes.
#[test]
fn a_finished_probe_makes_no_room_for_more_than_are_needed() {
    let setup = Setup::half_open(2);
    let slow = setup.start(Act::Pend(1));
    setup.succeed(1);
    assert_eq!(setup.breaker.snapshot().probes_succeeded, 1);
    assert_eq!(setup.refused(), None);
    ended(slow).unwrap();
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-02
#[test]
fn a_dropped_probe_gives_its_place_to_the_next_call() {
    let setup = Setup::half_open(1);
    for _ in 0..3 {
        let probe = setup.start(Act::Pend(9));
        assert_eq!(setup.refused(), None);
        drop(probe);
    }
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-04
#[test]
fn a_result_from_before_counts_neither_half_open_nor_closed_again() {
    for act in [Act::Succeed, Act::Fail] {
        let setup = Setup::new(consecutive().probes(2).unwrap());
        let late: Vec<_> = (0..4).map(|_| setup.start(act)).collect();
        setup.open();
        setup.hand.advance(OPEN_FOR);
        setup.succeed(1);
        let half_open = setup.breaker.snapshot();
        assert_eq!(half_open.state, State::HalfOpen);
        let mut late = late.into_iter();
        for call in late.by_ref().take(2) {
            assert_eq!(ended(call).is_ok(), act == Act::Succeed);
            assert_eq!(setup.breaker.snapshot(), half_open);
        }
        setup.succeed(1);
        setup.fail(1);
        let closed = setup.breaker.snapshot();
        assert_eq!((closed.state, closed.failures), (State::Closed, 1));
        for call in late {
            assert_eq!(ended(call).is_ok(), act == Act::Succeed);
            assert_eq!(setup.breaker.snapshot(), closed);
        }
    }
}

/// CB-05
#[test]
fn a_call_from_before_that_is_cancelled_half_open_makes_no_place() {
    let setup = Setup::consecutive();
    let late = setup.start(Act::Pend(9));
    setup.open();
    setup.hand.advance(OPEN_FOR);
    let probe = setup.start(Act::Pend(1));
    drop(late);
    assert_eq!(setup.breaker.snapshot().probes_in_flight, 1);
    assert_eq!(setup.refused(), None);
    ended(probe).unwrap();
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-05: the same for a probe of an earlier half-open time.
#[test]
fn a_probe_from_before_makes_no_place() {
    let setup = Setup::half_open(2);
    let cancelled = setup.start(Act::Pend(1));
    setup.fail(1);
    setup.hand.advance(OPEN_FOR);
    let probe = setup.start(Act::Pend(1));
    drop(cancelled);
    assert_eq!(setup.breaker.snapshot().probes_in_flight, 1);
    drop(probe);
    assert_eq!(setup.breaker.snapshot().probes_in_flight, 0);
}
