//! Costs other than one token, at the start and at the end of calls.

use std::{panic::AssertUnwindSafe, time::Duration};

use tower::{Layer, ServiceExt};
use towerkit_core::{Call, CarriesRejection, Clock, Rejection, RejectionReason};
use towerkit_http::HttpExt;
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_test::{Action, Probe};

fn quota(count: u32, burst: u32) -> Quota {
    Quota::per_second(count).unwrap().burst(burst).unwrap()
}

/// RL-07: a call that costs more than the burst is rejected without a time to retry after.
#[tokio::test]
async fn a_call_takes_as_many_tokens_as_it_costs() {
    let (clock, clock_control) = Clock::manual();
    let layer = RateLimitLayer::new(quota(10, 5)).clock(clock);
    let layer = layer.cost(|call: &Call<'_, Action>| match &*call.request {
        Action::Pend(cost) => *cost,
        _ => 1,
    });
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let call = |cost| service.clone().oneshot(Action::Pend(cost));
    let rejected = |result: Result<_, towerkit_test::ProbeError>| {
        let rejection = result.unwrap_err().rejection().cloned().unwrap();
        (rejection.reason(), rejection.retry_after())
    };
    call(3).await.unwrap();
    assert_eq!(handle.snapshot().available, 2);
    let wait = Some(Duration::from_millis(100));
    assert_eq!(
        rejected(call(3).await),
        (RejectionReason::RateLimited, wait)
    );
    assert_eq!(
        rejected(call(6).await),
        (RejectionReason::InsufficientCapacity, None)
    );
    call(0).await.unwrap();
    assert_eq!(handle.snapshot().available, 2);
    clock_control.advance(Duration::from_millis(100));
    call(3).await.unwrap();
    assert_eq!(handle.snapshot().available, 0);
}

/// They leave a debt, which is paid before the next call is admitted.
#[tokio::test]
async fn the_bytes_of_a_response_are_charged_at_its_end() {
    use bytes::Bytes;
    use http::{Request, Response, StatusCode};
    use http_body_util::{BodyExt, Full};

    let (clock, clock_control) = Clock::manual();
    let layer = RateLimitLayer::new(quota(1000, 1000))
        .clock(clock)
        .cost_at_end(|end| u32::try_from(end.bytes()).unwrap_or(u32::MAX));
    let handle = layer.handle();
    let service = layer
        .http()
        .layer(tower::service_fn(|request: Request<usize>| async move {
            let body = Full::new(Bytes::from(vec![0; *request.body()]));
            Ok::<_, std::io::Error>(Response::new(body))
        }));
    let call = async |bytes| {
        let response = service.clone().oneshot(Request::new(bytes)).await.unwrap();
        let status = response.status();
        response.into_body().collect().await.unwrap();
        status
    };
    assert_eq!(call(399).await, StatusCode::OK);
    assert_eq!(handle.snapshot().available, 600);
    assert_eq!(call(1_000_000).await, StatusCode::OK);
    assert_eq!(call(0).await, StatusCode::TOO_MANY_REQUESTS);
    clock_control.advance(Duration::from_millis(1000));
    assert_eq!(call(0).await, StatusCode::TOO_MANY_REQUESTS);
    clock_control.advance(Duration::from_millis(1));
    assert_eq!(call(0).await, StatusCode::OK);
}

/// However a call ends. The cost function is not called after a panic, and its own panic costs 0.
#[tokio::test]
async fn each_end_of_a_call_is_charged_once() {
    let (clock, _clock_control) = Clock::manual();
    let layer = RateLimitLayer::new(quota(1, 100))
        .clock(clock)
        .cost_at_end(|end| {
            assert!(!end.has_panicked());
            match end.outcome() {
                towerkit_core::Outcome::Cancelled => panic!("in the cost function"),
                _ => 10,
            }
        });
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let call = |act| service.clone().oneshot(act);
    assert!(call(Action::Fail).await.is_err());
    assert_eq!(handle.snapshot().available, 100 - 11);
    let caught =
        futures_util::FutureExt::catch_unwind(AssertUnwindSafe(call(Action::PanicInFuture)));
    assert!(caught.await.is_err());
    assert_eq!(handle.snapshot().available, 100 - 12);
    let mut cancelled = Box::pin(call(Action::Pend(5)));
    assert!(futures_util::poll!(cancelled.as_mut()).is_pending());
    drop(cancelled);
    assert_eq!(handle.snapshot().available, 100 - 13);
    assert_eq!(
        Rejection::new(RejectionReason::RateLimited, "x").retry_after(),
        None
    );
}
