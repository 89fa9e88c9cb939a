//! Overrides by a handle.

use towerkit_circuitbreaker::{Mode, State};
use towerkit_test::Action;

use super::setup::{OPEN_FOR, Setup, ended};

/// CB-13
#[test]
fn a_breaker_forced_open_rejects_until_it_is_released() {
    let setup = Setup::consecutive();
    setup.fail(1);
    setup.breaker.force_open();
    setup.clock_control.advance(100 * OPEN_FOR);
    assert_eq!(setup.rejected(), None);
    setup.breaker.release();
    assert_eq!(setup.breaker.snapshot().failures, 0);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-13
#[test]
fn a_breaker_forced_closed_counts_but_does_not_open() {
    let setup = Setup::consecutive();
    setup.open();
    setup.breaker.force_closed();
    setup.fail(10);
    let snapshot = setup.breaker.snapshot();
    assert_eq!(
        (snapshot.state, snapshot.failures),
        (State::ForcedClosed, 10)
    );
    setup.breaker.release();
    setup.fail(1);
    assert_eq!(setup.breaker.snapshot().failures, 1);
}

/// CB-13
#[test]
fn a_disabled_breaker_counts_nothing() {
    let setup = Setup::half_open(1);
    let probe = setup.start(Action::Fail);
    setup.breaker.disable();
    setup.fail(10);
    assert!(ended(probe).is_err());
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.failures), (State::Disabled, 0));
    setup.breaker.release();
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-13: otherwise a release would close an open breaker by accident.
#[test]
fn a_release_without_an_override_changes_no_state() {
    let setup = Setup::consecutive();
    setup.fail(1);
    setup.breaker.release();
    setup.fail(1);
    setup.breaker.release();
    assert_eq!(setup.rejected(), Some(OPEN_FOR));
}

/// CB-13
#[test]
fn an_observing_breaker_opens_and_closes_without_rejecting() {
    let setup = Setup::consecutive();
    setup.breaker.observe();
    setup.open();
    setup.succeed(3);
    setup.fail(2);
    let snapshot = setup.breaker.snapshot();
    assert_eq!(
        (snapshot.state, snapshot.mode),
        (State::Open, Mode::Observing)
    );
    assert_eq!(snapshot.let_through, 5);

    setup.clock_control.advance(OPEN_FOR);
    let probe = setup.start(Action::Pend(1));
    assert_eq!(setup.breaker.state(), State::HalfOpen);
    setup.fail(1);
    assert_eq!(setup.breaker.snapshot().let_through, 6);
    ended(probe).unwrap();
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-13
#[test]
fn a_breaker_released_from_observing_starts_with_empty_windows() {
    let setup = Setup::consecutive();
    setup.breaker.observe();
    setup.fail(1);
    let late = setup.start(Action::Fail);
    setup.breaker.release();
    assert!(ended(late).is_err());
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.mode, snapshot.failures), (Mode::Automatic, 0));

    setup.breaker.observe();
    setup.open();
    setup.breaker.release();
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// CB-13: the counts stay when the mode changes to observing.
#[test]
fn observing_starts_from_the_present_state_unless_it_was_forced() {
    let setup = Setup::consecutive();
    setup.fail(1);
    setup.breaker.observe();
    assert_eq!(setup.breaker.snapshot().failures, 1);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
    setup.breaker.force_open();
    assert_eq!(setup.rejected(), None);
    setup.breaker.observe();
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.open();
    setup.succeed(1);
}
