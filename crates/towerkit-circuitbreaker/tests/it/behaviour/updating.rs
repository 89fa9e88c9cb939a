//! Options that are updated while the breaker runs.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen, State};
use towerkit_test::Action;

use super::setup::{OPEN_FOR, Setup, consecutive, ended, rate};

fn apply(setup: &Setup, open_when: OpenWhen) {
    setup
        .breaker
        .update(setup.breaker.options().open_when(open_when));
}

#[test]
fn counts_stay_if_the_window_stays() {
    let setup = rate(1.0, 10, 10);
    setup.succeed(2);
    setup.fail(3);
    let late = setup.start(Action::Fail);
    apply(&setup, OpenWhen::failure_rate(0.5, 10, 6).unwrap());
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.results, snapshot.failures), (5, 3));
    assert_eq!(setup.breaker.state(), State::Closed);
    assert!(ended(late).is_err());
    assert_eq!(setup.breaker.state(), State::Open);
}

#[test]
fn another_window_starts_empty_and_earlier_calls_do_not_count() {
    for open_when in [
        OpenWhen::failure_rate(1.0, 11, 10),
        OpenWhen::failure_rate(1.0, 9, 9),
        OpenWhen::failure_rate(1.0, Duration::from_secs(1), 10),
        OpenWhen::consecutive_failures(9),
    ]
    .map(Result::unwrap)
    {
        let setup = rate(1.0, 10, 10);
        setup.fail(5);
        let late = setup.start(Action::Fail);
        apply(&setup, open_when);
        assert!(ended(late).is_err());
        let snapshot = setup.breaker.snapshot();
        assert_eq!(
            (snapshot.results, snapshot.failures),
            (0, 0),
            "{open_when:?}"
        );
        setup.fail(8);
        assert_eq!(setup.breaker.snapshot().failures, 8);
        let _ = (setup.call(Action::Fail), setup.call(Action::Fail));
        assert_eq!(setup.breaker.state(), State::Open, "{open_when:?}");
    }
}

/// Windows are enlarged and shrunk.
#[test]
fn a_resized_window_holds_the_new_number_of_results() {
    let setup = rate(1.0, 3, 3);
    for size in [7_u16, 2, 32_767, 1, 40, 3] {
        apply(
            &setup,
            OpenWhen::failure_rate(1.0, size, size.into()).unwrap(),
        );
        setup.succeed(1);
        setup.fail(usize::from(size) - 1);
        let snapshot = setup.breaker.snapshot();
        assert_eq!(
            (snapshot.results, snapshot.failures),
            (size.into(), u64::from(size) - 1)
        );
        setup.succeed(usize::from(size));
        assert_eq!(setup.breaker.snapshot().failures, 0);
    }
}

#[test]
fn an_update_does_not_change_the_present_open_duration() {
    let setup = Setup::consecutive();
    setup.open();
    let options = setup.breaker.options();
    setup
        .breaker
        .update(options.open_for(2 * OPEN_FOR).unwrap());
    assert_eq!(setup.rejected(), Some(OPEN_FOR));
    setup.clock_control.advance(OPEN_FOR);
    setup.fail(1);
    assert_eq!(setup.rejected(), Some(2 * OPEN_FOR));
}

/// CB-01: more or fewer probes while some are in flight.
#[test]
fn the_number_of_probes_changes_while_some_are_in_flight() {
    let setup = Setup::half_open(2);
    let probe = setup.start(Action::Pend(1));
    setup.succeed(1);
    assert_eq!(setup.rejected(), None);
    let options = setup.breaker.options();
    setup.breaker.update(options.probes(3).unwrap());
    setup.succeed(1);
    assert_eq!(setup.breaker.snapshot().probes_succeeded, 2);
    setup.breaker.update(options.probes(1).unwrap());
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
    ended(probe).unwrap();
    assert_eq!(setup.breaker.snapshot().probes_in_flight, 0);
}

#[test]
fn slow_calls_count_for_calls_that_start_after_the_update() {
    let setup = Setup::new(CircuitBreakerLayer::new());
    let before = setup.start(Action::Pend(1));
    apply(
        &setup,
        OpenWhen::slow_rate(1.0, Duration::from_secs(1), 10, 10).unwrap(),
    );
    let after = setup.start(Action::Pend(1));
    setup.clock_control.advance(Duration::from_secs(2));
    ended(before).unwrap();
    assert_eq!(setup.breaker.snapshot().results, 0);
    ended(after).unwrap();
    assert_eq!(setup.breaker.snapshot().slow, 1);
}

/// A mixture of the two sets of options would open the breaker; each of them alone does not.
#[test]
fn no_result_is_compared_with_a_mixture_of_old_and_new_thresholds() {
    // All of the last ten, or one in a thousand of a thousand results, which are never reached. The rate of one with the minimum of the other would open it.
    let strict = OpenWhen::failure_rate(1.0, 1000, 10).unwrap();
    let late = OpenWhen::failure_rate(0.001, 1000, 1000).unwrap();
    let setup = Setup::new(consecutive().open_when(strict));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                apply(&setup, late);
                apply(&setup, strict);
            }
        });
        for _ in 0..300 {
            setup.breaker.force_closed();
            setup.breaker.release();
            for _ in 0..90 {
                setup.fail(1);
                setup.succeed(9);
                if setup.breaker.state() != State::Closed {
                    break;
                }
            }
            assert_eq!(setup.breaker.state(), State::Closed);
        }
        done.store(true, Ordering::Relaxed);
    });
}
