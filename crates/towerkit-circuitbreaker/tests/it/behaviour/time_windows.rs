//! Time windows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tower::Layer;
use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen, State};
use towerkit_core::Clock;
use towerkit_test::{Action, Probe};

use super::setup::{OPEN_FOR, rate};

const WINDOW: Duration = Duration::from_secs(20);
const BUCKET: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);

/// CB-09: a bucket of a twentieth of the window leaves exactly one window after its start.
#[test]
fn a_failure_counts_until_its_bucket_leaves_the_window() {
    for late in [Duration::ZERO, BUCKET / 2, BUCKET - NANO] {
        let setup = rate(1.0, WINDOW, 100);
        setup.clock_control.advance(late);
        setup.fail(3);
        setup.clock_control.advance(WINDOW - late - NANO);
        assert_eq!(setup.breaker.snapshot().failures, 3);
        setup.clock_control.advance(NANO);
        assert_eq!(setup.breaker.snapshot().failures, 0);
    }
}

/// CB-09: buckets leave one by one.
#[test]
fn results_leave_in_order_of_arrival() {
    let setup = rate(1.0, WINDOW, 1000);
    for _ in 0..20 {
        setup.fail(1);
        setup.succeed(2);
        setup.clock_control.advance(BUCKET);
    }
    for left in (0..20_u64).rev() {
        let snapshot = setup.breaker.snapshot();
        assert_eq!((snapshot.results, snapshot.failures), (3 * left, left));
        setup.clock_control.advance(BUCKET);
    }
}

/// CB-09: the minimum of results, which a peer lacks for time windows.
#[test]
fn one_failure_after_an_idle_period_does_not_open_the_breaker() {
    let setup = rate(0.5, WINDOW, 20);
    setup.fail(19);
    setup.clock_control.advance(WINDOW);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.fail(18);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// The window slides by as many buckets as have passed, not by one for each result, and does not slide back.
#[test]
fn a_clock_jump_removes_the_results_that_have_left_the_window() {
    let hour = 3_600;
    for (jump, left) in [
        (0, 20),
        (1, 19),
        (2, 18),
        (19, 1),
        (20, 0),
        (21, 0),
        (40, 0),
        (hour, 0),
        (-1, 20),
        (-19, 20),
        (-hour, 20),
    ] {
        for looks in [false, true] {
            let setup = rate(1.0, WINDOW, 100);
            let start = 2 * 3_600 * 1_000_000_000_u64;
            for bucket in 0..20 {
                setup.clock_control.set(start + bucket * 1_000_000_000);
                setup.fail(1);
                setup.succeed(1);
            }
            let jumped = (start + 19 * 1_000_000_000).saturating_add_signed(jump * 1_000_000_000);
            setup.clock_control.set(jumped);
            if looks {
                let snapshot = setup.breaker.snapshot();
                assert_eq!((snapshot.results, snapshot.failures), (2 * left, left));
            }
            setup.fail(1);
            let snapshot = setup.breaker.snapshot();
            assert_eq!(
                (snapshot.results, snapshot.failures),
                (2 * left + 1, left + 1),
                "{jump} buckets, {looks}"
            );
        }
    }
}

/// After a pause of any length, including a multiple of the length of the ring.
#[test]
fn an_idle_period_longer_than_the_window_empties_it() {
    for windows in [1, 2, 3, 1_000_000] {
        for more in [0, 1, 19] {
            let setup = rate(1.0, WINDOW, 100);
            setup.fail(5);
            setup
                .clock_control
                .advance(WINDOW * windows + BUCKET * more);
            setup.succeed(1);
            let snapshot = setup.breaker.snapshot();
            assert_eq!((snapshot.results, snapshot.failures), (1, 0));
        }
    }
}

#[test]
fn a_success_that_completes_the_minimum_opens_the_breaker_at_the_rate() {
    let setup = rate(0.5, WINDOW, 4);
    setup.fail(3);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// The rate is compared when a result is counted.
#[test]
fn a_rate_that_rises_as_successes_leave_opens_with_the_next_result() {
    let setup = rate(0.5, WINDOW, 4);
    setup.succeed(10);
    setup.clock_control.advance(BUCKET);
    setup.fail(4);
    setup.clock_control.advance(WINDOW - BUCKET);
    assert_eq!(setup.breaker.state(), State::Closed);
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// CB-13, CB-04: each state starts with an empty window.
#[test]
fn a_breaker_closes_with_empty_windows() {
    let setup = rate(0.5, Duration::from_secs(3600), 4);
    setup.fail(4);
    setup.clock_control.advance(OPEN_FOR);
    setup.succeed(1);
    assert_eq!(setup.breaker.state(), State::Closed);
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.results, snapshot.failures), (0, 0));
    setup.fail(3);
    assert_eq!(setup.breaker.state(), State::Closed);
}

/// A clock may step back, see `Clock::fast`: later results count in the latest bucket seen so far.
#[test]
fn a_clock_that_steps_back_costs_accuracy_only() {
    let setup = rate(1.0, WINDOW, 100);
    setup.clock_control.set(100 * WINDOW.as_nanos() as u64);
    setup.fail(1);
    setup.clock_control.set(0);
    setup.fail(1);
    assert_eq!(setup.breaker.snapshot().failures, 2);
    setup.clock_control.set(101 * WINDOW.as_nanos() as u64 - 1);
    assert_eq!(setup.breaker.snapshot().failures, 2);
    setup.clock_control.set(101 * WINDOW.as_nanos() as u64);
    assert_eq!(setup.breaker.snapshot().failures, 0);
    setup.clock_control.set(u64::MAX);
    setup.fail(1);
    setup.fail(1);
    assert_eq!(setup.breaker.snapshot().failures, 2);
}

/// The shortest and the longest window work.
#[test]
fn the_most_extreme_windows_work() {
    for window in [Duration::from_nanos(20), Duration::from_nanos(u64::MAX)] {
        let setup = rate(1.0, window, 3);
        setup.fail(2);
        assert_eq!(setup.breaker.snapshot().failures, 2);
        setup.fail(1);
        assert_eq!(setup.breaker.state(), State::Open);
    }
}

/// All of 4 × 50 000 results are counted while the ring rotates.
#[test]
fn no_result_of_many_threads_is_lost() {
    const EACH: usize = 50_000;
    let setup = rate(1.0, WINDOW, u32::MAX);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for call in 0..EACH {
                    let action = if call % 4 == 0 {
                        Action::Fail
                    } else {
                        Action::Succeed
                    };
                    let _ = setup.call(action);
                    if call % (EACH / 4) == 0 {
                        setup.clock_control.advance(BUCKET);
                    }
                }
            });
        }
    });
    let snapshot = setup.breaker.snapshot();
    assert_eq!(snapshot.results, 4 * EACH as u64);
    assert_eq!(snapshot.failures, EACH as u64);
}

/// Windows over results need no clock, time windows one reading at the end of a call, and slow calls two.
#[test]
fn the_clock_is_read_only_for_time_windows_and_slow_calls() {
    let conditions = [
        (OpenWhen::default(), 0),
        (OpenWhen::consecutive_failures(50).unwrap(), 0),
        (OpenWhen::failure_rate(0.5, WINDOW, 20).unwrap(), 1),
        (OpenWhen::slow_rate(0.5, WINDOW, 100, 20).unwrap(), 2),
        (OpenWhen::slow_rate(0.5, WINDOW, WINDOW, 20).unwrap(), 2),
    ];
    for (open_when, expected) in conditions {
        let readings = Arc::new(AtomicU64::new(0));
        let read = readings.clone();
        let clock =
            Clock::custom(move || Duration::from_nanos(read.fetch_add(1, Ordering::Relaxed)));
        let layer = CircuitBreakerLayer::new().open_when(open_when).clock(clock);
        let mut service = layer.layer(Probe::new());
        for action in [Action::Succeed, Action::Fail] {
            readings.store(0, Ordering::Relaxed);
            let _ = super::setup::call(&mut service, action);
            assert_eq!(readings.load(Ordering::Relaxed), expected, "{open_when:?}");
        }
    }
}
