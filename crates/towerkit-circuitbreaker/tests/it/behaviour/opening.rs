//! Opening, and rejections by an open breaker.

use std::time::{Duration, Instant};

use tower::{Layer, Service, ServiceExt};
use towerkit_circuitbreaker::{CircuitBreakerLayer, State};
use towerkit_core::{CarriesRejection, LayerExt};
use towerkit_test::{Action, Probe};

use super::setup::{OPEN_FOR, Setup, consecutive, ended, rate};

/// GK-BR-1
#[test]
fn consecutive_failures_open_the_breaker_and_a_success_resets_their_count() {
    let setup = Setup::consecutive();
    for _ in 0..3 {
        setup.fail(1);
        setup.succeed(1);
    }
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// CB-09
#[test]
fn one_failure_after_an_idle_period_does_not_open_the_breaker() {
    let setup = Setup::new(CircuitBreakerLayer::new());
    setup.clock_control.advance(Duration::from_secs(86_400));
    setup.fail(19);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// CB-09: the window slides with each result.
#[test]
fn a_failure_counts_until_it_leaves_the_window() {
    let setup = rate(0.5, 10, 1);
    setup.succeed(3);
    setup.fail(1);
    for later in 1..10 {
        setup.succeed(1);
        assert_eq!(setup.breaker.snapshot().failures, 1, "after {later}");
    }
    setup.succeed(1);
    assert_eq!(setup.breaker.snapshot().failures, 0);
    assert_eq!(setup.breaker.snapshot().results, 10);
}

/// In a peer the window kept all results since the last change of state: 10 000 successes kept it from opening.
#[test]
fn many_earlier_successes_do_not_delay_opening() {
    let setup = rate(0.5, 10, 10);
    setup.succeed(10_000);
    setup.fail(4);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

#[test]
fn a_success_that_completes_the_minimum_opens_the_breaker_at_the_rate() {
    let setup = rate(0.5, 10, 4);
    setup.fail(3);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

#[test]
fn a_rate_written_as_a_quotient_is_reached_by_that_quotient() {
    for (failures, results) in [(1, 3), (2, 3), (1, 10), (3, 10), (7, 10), (1, 1)] {
        let setup = rate(f64::from(failures) / f64::from(results), 100, 1);
        setup.succeed((results - failures) as usize);
        setup.fail(failures as usize);
        assert_eq!(
            setup.breaker.state(),
            State::Open,
            "{failures} in {results}"
        );
    }
}

/// CB-07: the service is neither polled for readiness nor called.
#[test]
fn an_open_breaker_rejects_without_asking_the_service() {
    let setup = Setup::consecutive();
    setup.open();
    assert_eq!(setup.rejected(), Some(OPEN_FOR));
    setup
        .clock_control
        .advance(OPEN_FOR - Duration::from_nanos(1));
    assert_eq!(setup.rejected(), Some(Duration::from_nanos(1)));
}

/// CB-07: the mean of the best of 20 batches, so that a busy machine does not count.
#[test]
fn a_rejection_takes_less_than_ten_microseconds() {
    let setup = Setup::consecutive();
    setup.open();
    let batch = |_| {
        let start = Instant::now();
        for _ in 0..1000 {
            assert!(setup.call(Action::Succeed).is_err());
        }
        start.elapsed() / 1000
    };
    let mean = (0..20).map(batch).min().unwrap();
    assert!(mean < Duration::from_micros(10), "{mean:?}");
}

/// One service was ready before the breaker opened; the other was ready to reject and is called after the open duration.
#[test]
fn readiness_does_not_decide_about_the_call() {
    let setup = Setup::consecutive();
    let mut ready = setup.ready();
    setup.open();
    assert!(
        ended(ready.call(Action::Succeed))
            .unwrap_err()
            .rejection()
            .is_some()
    );

    let mut shut = setup.ready();
    setup.clock_control.advance(OPEN_FOR);
    assert!(
        ended(shut.call(Action::Succeed))
            .unwrap_err()
            .rejection()
            .is_some()
    );
    assert_eq!(setup.breaker.snapshot().probes_in_flight, 0);
    setup.succeed(1);
}

/// CB-11
#[test]
fn a_late_result_does_not_extend_the_open_duration() {
    for action in [Action::Succeed, Action::Fail] {
        let setup = Setup::consecutive();
        let late = setup.start(action);
        setup.open();
        setup.clock_control.advance(OPEN_FOR / 2);
        let _ = ended(late);
        assert_eq!(setup.rejected(), Some(OPEN_FOR / 2));
        setup.clock_control.advance(OPEN_FOR / 2);
        setup.succeed(1);
    }
}

/// A clock may step back, see `Clock::fast`.
#[test]
fn a_clock_that_steps_back_does_not_extend_the_wait() {
    let setup = Setup::consecutive();
    setup.open();
    setup.clock_control.set(0);
    assert_eq!(setup.rejected(), Some(OPEN_FOR));
    setup.clock_control.set(u64::MAX);
    setup.fail(1);
    setup.clock_control.set(1);
    assert_eq!(setup.breaker.state(), State::Open);
    let _ = setup.call(Action::Succeed);
}

#[test]
fn services_of_one_layer_share_the_breaker() {
    let layer = consecutive().plain("probe");
    let one = layer.layer(Probe::new());
    let other = layer.clone().layer(Probe::new());
    let _ = (
        ended(one.oneshot(Action::Fail)),
        ended(other.oneshot(Action::Fail)),
    );
    assert_eq!(layer.handle().state(), State::Open);
}
