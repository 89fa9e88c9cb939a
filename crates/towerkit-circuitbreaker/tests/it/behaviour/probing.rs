//! Half-open: probes, and results from before.

use std::{sync::Barrier, thread, time::Duration};

use towerkit_circuitbreaker::State;
use towerkit_test::Action;

use super::setup::{Calling, OPEN_FOR, Setup, consecutive, ended};

/// GK-BR-2: who waits as told is a probe; its success closes the breaker, its failure opens it for another full time.
#[test]
fn a_probe_closes_or_reopens() {
    let setup = Setup::consecutive();
    setup.open();
    for _ in 0..3 {
        setup.hand.advance(setup.rejected().unwrap());
        setup.fail(1);
        assert_eq!(setup.breaker.state(), State::Open);
        assert_eq!(setup.rejected(), Some(OPEN_FOR));
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
            let before = setup.counts.started();
            let start = Barrier::new(64);
            let calls: Vec<Calling> = thread::scope(|scope| {
                let call = || {
                    start.wait();
                    setup.start(Action::Succeed)
                };
                let threads: Vec<_> = (0..64).map(|_| scope.spawn(call)).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .collect()
            });
            let limit = u64::from(probes);
            assert_eq!(setup.counts.started() - before, limit);
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
    let slow = setup.start(Action::Pend(1));
    setup.succeed(1);
    assert_eq!(setup.breaker.snapshot().probes_succeeded, 1);
    assert_eq!(setup.rejected(), None);
    ended(slow).unwrap();
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-02
#[test]
fn a_dropped_probe_gives_its_place_to_the_next_call() {
    let setup = Setup::half_open(1);
    for _ in 0..3 {
        let probe = setup.start(Action::Pend(9));
        assert_eq!(setup.rejected(), None);
        drop(probe);
    }
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-04
#[test]
fn a_result_from_before_counts_neither_half_open_nor_closed_again() {
    for act in [Action::Succeed, Action::Fail] {
        let setup = Setup::new(consecutive().probes(2).unwrap());
        let late: Vec<_> = (0..4).map(|_| setup.start(act)).collect();
        setup.open();
        setup.hand.advance(OPEN_FOR);
        setup.succeed(1);
        let half_open = setup.breaker.snapshot();
        assert_eq!(half_open.state, State::HalfOpen);
        let mut late = late.into_iter();
        for call in late.by_ref().take(2) {
            assert_eq!(ended(call).is_ok(), act == Action::Succeed);
            assert_eq!(setup.breaker.snapshot(), half_open);
        }
        setup.succeed(1);
        setup.fail(1);
        let closed = setup.breaker.snapshot();
        assert_eq!((closed.state, closed.failures), (State::Closed, 1));
        for call in late {
            assert_eq!(ended(call).is_ok(), act == Action::Succeed);
            assert_eq!(setup.breaker.snapshot(), closed);
        }
    }
}

/// CB-05
#[test]
fn a_call_from_before_that_is_cancelled_half_open_makes_no_place() {
    let setup = Setup::consecutive();
    let late = setup.start(Action::Pend(9));
    setup.open();
    setup.hand.advance(OPEN_FOR);
    let probe = setup.start(Action::Pend(1));
    drop(late);
    assert_eq!(setup.breaker.snapshot().probes_in_flight, 1);
    assert_eq!(setup.rejected(), None);
    ended(probe).unwrap();
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-05: the same for a probe of an earlier half-open time.
#[test]
fn a_probe_from_before_makes_no_place() {
    let setup = Setup::half_open(2);
    let cancelled = setup.start(Action::Pend(1));
    setup.fail(1);
    setup.hand.advance(OPEN_FOR);
    let probe = setup.start(Action::Pend(1));
    drop(cancelled);
    assert_eq!(setup.breaker.snapshot().probes_in_flight, 1);
    drop(probe);
    assert_eq!(setup.breaker.snapshot().probes_in_flight, 0);
}

const PROBE_TIMEOUT: Duration = Duration::from_secs(60);
const NANO: Duration = Duration::from_nanos(1);

/// CB-03: with the default, and never stuck.
#[test]
fn a_probe_that_never_ends_gives_its_place_up() {
    let setup = Setup::half_open(1);
    let mut hung = Vec::new();
    for _ in 0..3 {
        hung.push(setup.start(Action::Pend(9)));
        setup.hand.advance(PROBE_TIMEOUT - NANO);
        assert_eq!(setup.rejected(), None);
        setup.hand.advance(NANO);
    }
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-03: whatever it says, and whenever.
#[test]
fn the_late_result_of_a_probe_that_gave_its_place_up_counts_for_nothing() {
    for act in [Action::Succeed, Action::Fail, Action::Pend(0)] {
        let setup = Setup::half_open(1);
        let late = setup.start(act);
        let later = setup.start(act);
        drop(later);
        setup.hand.advance(PROBE_TIMEOUT);
        let probe = setup.start(Action::Pend(1));
        if act == Action::Pend(0) {
            drop(late);
        } else {
            let _ = ended(late);
        }
        let snapshot = setup.breaker.snapshot();
        assert_eq!(
            (snapshot.state, snapshot.probes_in_flight),
            (State::HalfOpen, 1)
        );
        assert_eq!(setup.rejected(), None);
        ended(probe).unwrap();
        assert_eq!(setup.breaker.state(), State::Closed);
    }
}

/// CB-03: as long as nobody wants its place, a probe may take its time.
#[test]
fn a_late_probe_counts_if_its_place_was_not_given_away() {
    let setup = Setup::half_open(1);
    let late = setup.start(Action::Succeed);
    setup.hand.advance(100 * PROBE_TIMEOUT);
    ended(late).unwrap();
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-03: those that succeeded are not asked for again.
#[test]
fn probes_that_succeeded_stay_counted_when_others_give_their_places_up() {
    let setup = Setup::half_open(3);
    let hung = [setup.start(Action::Pend(9)), setup.start(Action::Pend(9))];
    setup.succeed(1);
    assert_eq!(setup.rejected(), None);
    setup.hand.advance(PROBE_TIMEOUT);
    setup.succeed(1);
    assert_eq!(setup.breaker.snapshot().probes_succeeded, 2);
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
    drop(hung);
}

/// CB-01, CB-03: when places are given up under many callers at once, no more are given out.
#[test]
fn no_more_places_are_given_out_than_were_given_up() {
    for _ in 0..50 {
        let setup = Setup::half_open(3);
        let hung: Vec<_> = (0..3).map(|_| setup.start(Action::Pend(9))).collect();
        setup.hand.advance(PROBE_TIMEOUT);
        let (before, start) = (setup.counts.started(), Barrier::new(16));
        let calls: Vec<Calling> = thread::scope(|scope| {
            let call = || {
                start.wait();
                setup.start(Action::Pend(9))
            };
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(call)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(setup.counts.started() - before, 3);
        assert_eq!(setup.breaker.snapshot().probes_in_flight, 3);
        drop((hung, calls));
        assert_eq!(setup.breaker.snapshot().probes_in_flight, 0);
    }
}
