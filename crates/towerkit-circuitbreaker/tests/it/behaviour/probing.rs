//! Half-open breakers: probes and late results.

use std::{sync::Barrier, thread, time::Duration};

use towerkit_circuitbreaker::State;
use towerkit_test::Action;

use super::setup::{Calling, OPEN_FOR, Setup, consecutive, ended};

/// GK-BR-2: a call after the time in the rejection is a probe. Its success closes the breaker; its failure opens it for a whole open duration.
#[test]
fn a_probe_closes_or_reopens_the_breaker() {
    let setup = Setup::consecutive();
    setup.open();
    for _ in 0..3 {
        setup.clock_control.advance(setup.rejected().unwrap());
        setup.fail(1);
        assert_eq!(setup.breaker.state(), State::Open);
        assert_eq!(setup.rejected(), Some(OPEN_FOR));
    }
    setup.clock_control.advance(OPEN_FOR);
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-01
#[test]
fn concurrent_calls_send_no_more_probes_than_allowed() {
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

/// CB-01: a successful probe counts as one of the probes until the breaker closes.
#[test]
fn a_successful_probe_admits_no_more_probes_than_needed() {
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
fn a_dropped_probe_is_replaced_by_the_next_call() {
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
fn a_late_result_counts_neither_half_open_nor_after_closing() {
    for action in [Action::Succeed, Action::Fail] {
        let setup = Setup::new(consecutive().probes(2).unwrap());
        let late: Vec<_> = (0..4).map(|_| setup.start(action)).collect();
        setup.open();
        setup.clock_control.advance(OPEN_FOR);
        setup.succeed(1);
        let half_open = setup.breaker.snapshot();
        assert_eq!(half_open.state, State::HalfOpen);
        let mut late = late.into_iter();
        for call in late.by_ref().take(2) {
            assert_eq!(ended(call).is_ok(), action == Action::Succeed);
            assert_eq!(setup.breaker.snapshot(), half_open);
        }
        setup.succeed(1);
        setup.fail(1);
        let closed = setup.breaker.snapshot();
        assert_eq!((closed.state, closed.failures), (State::Closed, 1));
        for call in late {
            assert_eq!(ended(call).is_ok(), action == Action::Succeed);
            assert_eq!(setup.breaker.snapshot(), closed);
        }
    }
}

/// CB-05
#[test]
fn cancelling_an_earlier_call_admits_no_further_probe() {
    let setup = Setup::consecutive();
    let late = setup.start(Action::Pend(9));
    setup.open();
    setup.clock_control.advance(OPEN_FOR);
    let probe = setup.start(Action::Pend(1));
    drop(late);
    assert_eq!(setup.breaker.snapshot().probes_in_flight, 1);
    assert_eq!(setup.rejected(), None);
    ended(probe).unwrap();
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-05: for a probe of an earlier half-open state.
#[test]
fn cancelling_an_earlier_probe_admits_no_further_probe() {
    let setup = Setup::half_open(2);
    let cancelled = setup.start(Action::Pend(1));
    setup.fail(1);
    setup.clock_control.advance(OPEN_FOR);
    let probe = setup.start(Action::Pend(1));
    drop(cancelled);
    assert_eq!(setup.breaker.snapshot().probes_in_flight, 1);
    drop(probe);
    assert_eq!(setup.breaker.snapshot().probes_in_flight, 0);
}

const PROBE_TIMEOUT: Duration = Duration::from_secs(60);
const NANO: Duration = Duration::from_nanos(1);

/// CB-03: with the default probe timeout.
#[test]
fn a_probe_that_does_not_end_is_replaced() {
    let setup = Setup::half_open(1);
    let mut hung = Vec::new();
    for _ in 0..3 {
        hung.push(setup.start(Action::Pend(9)));
        setup.clock_control.advance(PROBE_TIMEOUT - NANO);
        assert_eq!(setup.rejected(), None);
        setup.clock_control.advance(NANO);
    }
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-03: for each result and at any time.
#[test]
fn the_result_of_a_replaced_probe_does_not_count() {
    for action in [Action::Succeed, Action::Fail, Action::Pend(0)] {
        let setup = Setup::half_open(1);
        let late = setup.start(action);
        let later = setup.start(action);
        drop(later);
        setup.clock_control.advance(PROBE_TIMEOUT);
        let probe = setup.start(Action::Pend(1));
        if action == Action::Pend(0) {
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

/// CB-03: a probe is replaced only if another call comes.
#[test]
fn a_late_probe_counts_if_it_was_not_replaced() {
    let setup = Setup::half_open(1);
    let late = setup.start(Action::Succeed);
    setup.clock_control.advance(100 * PROBE_TIMEOUT);
    ended(late).unwrap();
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-03: successful probes need not be repeated.
#[test]
fn successful_probes_stay_counted_when_others_are_replaced() {
    let setup = Setup::half_open(3);
    let hung = [setup.start(Action::Pend(9)), setup.start(Action::Pend(9))];
    setup.succeed(1);
    assert_eq!(setup.rejected(), None);
    setup.clock_control.advance(PROBE_TIMEOUT);
    setup.succeed(1);
    assert_eq!(setup.breaker.snapshot().probes_succeeded, 2);
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
    drop(hung);
}

/// CB-01, CB-03: when many concurrent calls replace probes, there are still no more than allowed.
#[test]
fn no_more_probes_are_admitted_than_replaced() {
    for _ in 0..50 {
        let setup = Setup::half_open(3);
        let hung: Vec<_> = (0..3).map(|_| setup.start(Action::Pend(9))).collect();
        setup.clock_control.advance(PROBE_TIMEOUT);
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
