//! The timeout as a caller sees it.

use std::time::Duration;

use http::{Method, Request};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::{
    task::{JoinHandle, coop, yield_now},
    time::Instant,
};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_core::{
    BoxError, CarriesRejection, LayerExt, OperationSet, Outcome, Plain, Rejection, RejectionReason,
};
use towerkit_http::HttpExt;
use towerkit_test::{Action, Probe, ProbeError};
use towerkit_timeout::TimeoutLayer;

const SECOND: Duration = Duration::from_secs(1);

fn layer() -> TimeoutLayer {
    TimeoutLayer::new(SECOND).unwrap()
}

/// TO-01
#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_is_dropped_within_a_tick() {
    let probe = Probe::new();
    let counts = probe.counts();
    let start = Instant::now();
    let call = layer()
        .name("upstream")
        .plain("nap")
        .layer(probe)
        .oneshot(Action::Sleep(10 * SECOND));
    let error = call.await.unwrap_err();
    let elapsed = start.elapsed();
    assert!(
        elapsed >= SECOND && elapsed <= SECOND + Duration::from_millis(1),
        "{elapsed:?}"
    );
    assert_eq!(error.to_string(), "upstream: deadline exceeded");
    assert_eq!(
        error.rejection().map(Rejection::reason),
        Some(RejectionReason::DeadlineExceeded)
    );
    assert_eq!((counts.dropped(), counts.in_flight()), (1, 0));
}

/// TO-01: in time, in a tie, and too late.
#[tokio::test(start_paused = true)]
async fn a_tie_goes_to_the_call() {
    let service = layer().plain("nap").layer(Probe::new());
    let tick = Duration::from_millis(1);
    for (nap, is_served) in [
        (SECOND - tick, true),
        (SECOND, true),
        (SECOND + tick, false),
    ] {
        let result = service.clone().oneshot(Action::Sleep(nap)).await;
        assert_eq!(result.is_ok(), is_served, "{nap:?}");
    }
}

/// TO-05: a call that is ready at once needs no timer, and so no runtime.
#[test]
fn a_call_that_is_ready_at_once_makes_no_timer() {
    let service = layer().plain("at once").layer(Probe::new());
    let call = tower::util::Oneshot::new(service, Action::Succeed);
    let mut call = std::pin::pin!(call);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_ready());
}

#[tokio::test(start_paused = true)]
async fn over_http_and_grpc_the_rejection_is_a_response() {
    let call = || Request::new(Action::Sleep(10 * SECOND));
    let response = layer()
        .http()
        .layer(Probe::new())
        .oneshot(call())
        .await
        .unwrap();
    assert_eq!(response.status(), 504);
    let response = layer()
        .grpc()
        .layer(Probe::new())
        .oneshot(call())
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "4");
}

/// A4.7
#[tokio::test(start_paused = true)]
async fn other_operations_have_no_timeout() {
    let only = layer().only(OperationSet::exact("buy"));
    for (name, is_served) in [("buy", false), ("browse", true)] {
        let service = only.clone().plain(name).layer(Probe::new());
        let result = service.oneshot(Action::Sleep(100 * SECOND)).await;
        assert_eq!(result.is_ok(), is_served, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_changes_the_timeout_of_later_calls() {
    let layer = layer();
    let handle = layer.handle();
    let service = layer.plain("nap").layer(Probe::new());
    let nap = Action::Sleep(5 * SECOND);
    assert!(service.clone().oneshot(nap).await.is_err());
    handle.set_timeout(6 * SECOND).unwrap();
    assert!(service.clone().oneshot(nap).await.is_ok());
    assert!(handle.set_timeout(Duration::ZERO).is_err());
    assert_eq!(handle.timeout(), 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_handle_follows_later_setters() {
    let layer = layer();
    let handle = layer.handle();
    let service = layer.name("upstream").plain("nap").layer(Probe::new());
    handle.set_timeout(6 * SECOND).unwrap();
    assert!(service.oneshot(Action::Sleep(5 * SECOND)).await.is_ok());
}

async fn greedy<T>() -> T {
    loop {
        coop::consume_budget().await;
    }
}

/// Like `tokio::time::timeout`, around a future that uses up tokio's cooperative budget at every poll.
#[tokio::test(start_paused = true)]
async fn a_call_that_never_yields_by_itself_times_out() {
    let inner = service_fn(|()| greedy::<Result<(), BoxError>>());
    let call = tokio::spawn(layer().plain("greedy").layer(inner).oneshot(()));
    let error = ended(call).await.unwrap_err();
    assert_eq!(error.to_string(), "timeout: deadline exceeded");
}

/// Advances time by a second, and expects a busy task to end.
pub(crate) async fn ended<T>(task: JoinHandle<T>) -> T {
    yield_now().await;
    tokio::time::advance(SECOND + Duration::from_millis(1)).await;
    for _ in 0..1000 {
        yield_now().await;
    }
    assert!(task.is_finished(), "the timer did not fire");
    task.await.unwrap()
}

/// A response to `HEAD` has no body; one would break the HTTP/2 stream.
#[tokio::test(start_paused = true)]
async fn a_head_that_times_out_is_answered_without_a_body() {
    for (method, has_body) in [(Method::HEAD, false), (Method::GET, true)] {
        let mut request = Request::new(Action::Sleep(10 * SECOND));
        *request.method_mut() = method;
        let service = layer().http().layer(Probe::new());
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 504);
        let body = response.into_body();
        assert_eq!(!body.is_end_stream(), has_body);
        assert_eq!(
            !body.collect().await.unwrap().to_bytes().is_empty(),
            has_body
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_classifier_releases_everything() {
    let probe = Probe::new();
    let counts = probe.counts();
    let plain = Plain::new("probe").classify(|result: &Result<Action, ProbeError>| {
        assert!(*result.as_ref().unwrap() == Action::Succeed, "unheard of");
        Outcome::Success
    });
    let service = layer().protocol(plain).layer(probe);
    let call = tokio::spawn(service.clone().oneshot(Action::Pend(1)));
    _ = call.await;
    assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
    assert!(service.oneshot(Action::Succeed).await.is_ok());
}
