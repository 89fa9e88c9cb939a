//! Open durations with backoff and jitter.

use std::time::Duration;

use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenDuration, State};

use super::setup::{Setup, consecutive};

const SECOND: Duration = Duration::from_secs(1);

fn growing() -> OpenDuration {
    let first = OpenDuration::new(SECOND).unwrap();
    first.backoff(2.0, 5 * SECOND).unwrap()
}

fn layer(time: OpenDuration) -> CircuitBreakerLayer {
    consecutive().open_duration(time)
}

/// Waits for the time in the rejection, and then makes a probe that fails.
fn fail_probe(setup: &Setup) -> Duration {
    let wait = setup.rejected().unwrap();
    setup.clock_control.advance(wait);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
    wait
}

#[test]
fn a_failed_probe_lengthens_the_open_duration_up_to_the_longest() {
    let setup = Setup::new(layer(growing()));
    setup.open();
    let waits: Vec<_> = (0..5).map(|_| fail_probe(&setup)).collect();
    assert_eq!(waits, [1, 2, 4, 5, 5].map(|seconds| seconds * SECOND));
}

/// A breaker that opens again soon after it closed has not recovered.
#[test]
fn a_breaker_that_opens_soon_after_it_closed_stays_open_longer() {
    let setup = Setup::new(layer(growing()));
    setup.open();
    for expected in [1, 2, 4, 5].map(|seconds| seconds * SECOND) {
        assert_eq!(setup.rejected(), Some(expected));
        setup.clock_control.advance(expected);
        setup.succeed(1);
        setup
            .clock_control
            .advance(expected - Duration::from_nanos(1));
        setup.open();
    }
}

#[test]
fn a_breaker_that_was_closed_for_as_long_as_it_was_open_has_recovered() {
    let setup = Setup::new(layer(growing()));
    setup.open();
    fail_probe(&setup);
    assert_eq!(setup.rejected(), Some(2 * SECOND));
    setup.clock_control.advance(2 * SECOND);
    setup.succeed(1);
    setup.clock_control.advance(2 * SECOND);
    setup.open();
    assert_eq!(setup.rejected(), Some(SECOND));
}

/// CB-13
#[test]
fn a_release_resets_the_backoff() {
    let setup = Setup::new(layer(growing()));
    setup.open();
    fail_probe(&setup);
    setup.breaker.force_closed();
    setup.breaker.release();
    setup.open();
    assert_eq!(setup.rejected(), Some(SECOND));
}

#[test]
fn jitter_only_lengthens_the_duration_and_repeats_with_its_seed() {
    let waits = |seed| {
        let time = growing().jitter(0.5).unwrap();
        let setup = Setup::new(layer(time).seed(seed));
        setup.open();
        (0..100).map(|_| fail_probe(&setup)).collect::<Vec<_>>()
    };
    let seen = waits(7);
    for (wait, seconds) in seen.iter().zip([1, 2, 4].into_iter().chain([5; 97])) {
        let least = seconds * SECOND;
        assert!(*wait >= least && *wait <= least + least / 2, "{wait:?}");
    }
    assert_eq!(seen, waits(7));
    assert_ne!(seen, waits(8));
}

/// The breakers of one process do not all probe at the same moment.
#[test]
fn without_a_seed_each_breaker_has_its_own_jitter() {
    let first = || {
        let time = OpenDuration::new(SECOND).unwrap().jitter(1.0).unwrap();
        let setup = Setup::new(layer(time));
        setup.open();
        setup.rejected().unwrap()
    };
    assert_ne!((first(), first()), (first(), first()));
}
