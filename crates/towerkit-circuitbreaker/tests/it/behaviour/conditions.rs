//! Several conditions in one breaker.

use std::time::Duration;

use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen, State};
use towerkit_test::Action;

use super::setup::{Setup, ended};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Opens after five consecutive failures, at half of the last 20, at a third of 12 in a minute, or at half of 4 slow in a minute.
fn setup() -> Setup {
    let open_when = OpenWhen::any([
        OpenWhen::consecutive_failures(5).unwrap(),
        OpenWhen::failure_rate(0.5, 20, 20).unwrap(),
        OpenWhen::failure_rate(1.0 / 3.0, MINUTE, 12).unwrap(),
        OpenWhen::slow_rate(0.5, SECOND, MINUTE, 4).unwrap(),
    ]);
    Setup::new(CircuitBreakerLayer::new().open_when(open_when.unwrap()))
}

#[test]
fn the_first_condition_that_is_met_opens_the_breaker() {
    let in_a_row = setup();
    in_a_row.succeed(100);
    in_a_row.fail(4);
    assert_eq!(in_a_row.breaker.state(), State::Closed);
    in_a_row.fail(1);
    assert_eq!(in_a_row.breaker.state(), State::Open);

    let in_time = setup();
    for _ in 0..4 {
        in_time.succeed(2);
        assert_eq!(in_time.breaker.state(), State::Closed);
        in_time.fail(1);
    }
    assert_eq!(in_time.breaker.state(), State::Open);

    let slow = setup();
    slow.succeed(2);
    for expected in [State::Closed, State::Open] {
        let call = slow.start(Action::Succeed);
        slow.clock_control.advance(2 * SECOND);
        ended(call).unwrap();
        assert_eq!(slow.breaker.state(), expected);
    }

    // One failure in two, with at most ten results in each minute.
    let of_last = setup();
    for _ in 0..10 {
        assert_eq!(of_last.breaker.state(), State::Closed);
        of_last.clock_control.advance(MINUTE / 5);
        of_last.succeed(1);
        of_last.fail(1);
    }
    assert_eq!(of_last.breaker.state(), State::Open);
}

#[test]
fn all_conditions_start_again_after_an_opening() {
    let setup = setup();
    setup.succeed(6);
    setup.fail(5);
    assert_eq!(setup.breaker.state(), State::Open);
    setup.clock_control.advance(10 * SECOND);
    setup.succeed(1);
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.results), (State::Closed, 0));
    setup.fail(4);
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
}
