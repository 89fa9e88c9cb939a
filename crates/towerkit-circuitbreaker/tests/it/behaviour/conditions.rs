//! Several conditions at once.

use std::time::Duration;

use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen, State};
use towerkit_test::Action;

use super::setup::{Setup, ended};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Five failures in a row, half of the last 20, a third of a minute's 12, or half of a minute's 4 slow.
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
        slow.hand.advance(2 * SECOND);
        ended(call).unwrap();
        assert_eq!(slow.breaker.state(), expected);
    }

    // One failure in two, of which no minute sees more than ten.
    let of_last = setup();
    for _ in 0..10 {
        assert_eq!(of_last.breaker.state(), State::Closed);
        of_last.hand.advance(MINUTE / 5);
        of_last.succeed(1);
        of_last.fail(1);
    }
    assert_eq!(of_last.breaker.state(), State::Open);
}

#[test]
fn whatever_opened_the_breaker_all_conditions_begin_anew() {
    let setup = setup();
    setup.succeed(6);
    setup.fail(5);
    assert_eq!(setup.breaker.state(), State::Open);
    setup.hand.advance(10 * SECOND);
    setup.succeed(1);
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.results), (State::Closed, 0));
    setup.fail(4);
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
}
