//! The delays between attempts, and the limits on them.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;
use tower::{Layer, ServiceExt};
use towerkit_core::{Deadline, LayerExt, Outcome};
use towerkit_http::HttpExt;
use towerkit_retry::{Budget, GiveUpReason, RetryLayer};
use towerkit_test::{Action, Probe, tokio_clock};

use super::setup::{Script, answer, call, get, grpc, report};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);

fn about(wait: Duration, expected: Duration) -> bool {
    (expected..=expected + TICK).contains(&wait)
}

/// RT-07, RT-11
#[tokio::test(start_paused = true)]
async fn delays_grow_to_a_cap_and_differ_from_call_to_call() {
    let layer = RetryLayer::new().http().attempts(6).unwrap();
    let layer = layer.backoff(SECOND, 4 * SECOND).unwrap();
    let layer = layer.budget(Budget::new(10.0, 0).unwrap());
    let mut first = HashSet::new();
    for _ in 0..50 {
        let script = Script::of(&[503; 10]);
        call(&layer.layer(script.clone()), get()).await;
        let times = script.times();
        assert_eq!(times.len(), 6);
        for (pause, bound) in times
            .windows(2)
            .map(|two| two[1] - two[0])
            .zip([1, 2, 4, 4, 4])
        {
            assert!(pause <= bound * SECOND + TICK, "{pause:?}");
        }
        first.insert(times[1] - times[0]);
    }
    assert!(first.len() > 40, "{}", first.len());
}

/// RT-11: failures that come at once do not speed retries up.
#[tokio::test(start_paused = true)]
async fn instant_failures_are_limited_by_the_attempts() {
    let probe = Probe::new();
    let counts = probe.counts();
    let service = RetryLayer::new().plain("probe").idempotent().layer(probe);
    assert!(service.oneshot(Action::Fail).await.is_err());
    assert_eq!(counts.started(), 3);
}

/// RT-08
#[tokio::test(start_paused = true)]
async fn the_upstream_sets_the_delay_by_retry_after() {
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (value, wait) in [
        ("3", 3 * SECOND),
        ("0", Duration::ZERO),
        (past, Duration::ZERO),
    ] {
        let script = Script::new([answer(503, &[("retry-after", value)])]);
        let service = RetryLayer::new().http().layer(script.clone());
        assert_eq!(call(&service, get()).await.status(), 200);
        assert!(
            about(script.times()[1], wait),
            "{value}: {:?}",
            script.times()
        );
    }
    // A value that cannot be parsed is ignored.
    let script = Script::new([answer(503, &[("retry-after", "soon")])]);
    let service = RetryLayer::new().http().layer(script.clone());
    call(&service, get()).await;
    assert!(script.times()[1] <= 50 * TICK + TICK);
}

/// RT-08, gRPC proposal A6
#[tokio::test(start_paused = true)]
async fn grpc_pushback_sets_the_delay() {
    for (value, wait) in [("50", Some(50 * TICK)), ("-1", None), ("x", None)] {
        let headers = [("grpc-status", "14"), ("grpc-retry-pushback-ms", value)];
        let script = Script::new([answer(200, &headers)]);
        let service = RetryLayer::new().grpc().idempotent().layer(script.clone());
        let response = call(&service, grpc()).await;
        match wait {
            Some(wait) => assert!(about(script.times()[1], wait), "{value}"),
            None => {
                assert_eq!(script.calls(), 1, "{value}");
                assert_eq!(
                    report(&response).give_up_reason(),
                    Some(GiveUpReason::Pushback)
                );
            }
        }
    }
}

/// RT-08: an upstream cannot delay its caller for long.
#[tokio::test(start_paused = true)]
async fn pushback_over_the_limit_ends_the_call() {
    for (longest, value, calls) in [
        (10, "10", 2),
        (10, "11", 1),
        (10, "18446744073709551615", 1),
        (60, "11", 2),
    ] {
        let script = Script::new([answer(503, &[("retry-after", value)])]);
        let layer = RetryLayer::new().max_pushback(longest * SECOND).unwrap();
        let start = Instant::now();
        let response = call(&layer.http().layer(script.clone()), get()).await;
        assert_eq!(script.calls(), calls, "{value}");
        if calls == 1 {
            assert_eq!(start.elapsed(), Duration::ZERO);
            assert_eq!(
                report(&response).give_up_reason(),
                Some(GiveUpReason::Pushback)
            );
        }
    }
}

/// RT-09
#[tokio::test(start_paused = true)]
async fn a_delay_beyond_the_deadline_ends_the_call() {
    let script = Script::new([
        answer(500, &[("retry-after", "0")]),
        answer(503, &[("retry-after", "3"), ("x-which", "the last")]),
    ]);
    let service = RetryLayer::new().http().layer(script.clone());
    let mut request = get();
    let deadline = Deadline::after(&tokio_clock(), SECOND);
    request.extensions_mut().insert(deadline);
    let start = Instant::now();
    let response = call(&service, request).await;
    assert!(start.elapsed() <= TICK);
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["x-which"], "the last");
    let report = report(&response);
    assert_eq!(report.give_up_reason(), Some(GiveUpReason::Deadline));
    assert_eq!(report.failed_attempts().len(), 1);
    assert_eq!(report.failed_attempts()[0].outcome, Outcome::Failure);
    assert_eq!(script.calls(), 2);
}

/// RT-09: an attempt at the deadline itself would be useless.
#[tokio::test(start_paused = true)]
async fn a_delay_within_the_deadline_is_waited_for() {
    for (left, calls) in [(999 * TICK, 1), (SECOND, 1), (1001 * TICK, 2)] {
        let script = Script::new([answer(503, &[("retry-after", "1")])]);
        let service = RetryLayer::new().http().layer(script.clone());
        let mut request = get();
        request
            .extensions_mut()
            .insert(Deadline::after(&tokio_clock(), left));
        call(&service, request).await;
        assert_eq!(script.calls(), calls, "{left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_changes_the_backoff() {
    let layer = RetryLayer::new().http().attempts(100).unwrap();
    let handle = layer.handle();
    handle.set_backoff(TICK, TICK).unwrap();
    let script = Script::of(&[503; 100]);
    call(&layer.layer(script.clone()), get()).await;
    // Tokio rounds a delay up to the next tick, and one more.
    assert!(*script.times().last().unwrap() <= 99 * 2 * TICK);
    assert_eq!(script.calls(), 100);
}
