//! Calls that cost more than a token, or something else at the end.

use std::{panic::AssertUnwindSafe, time::Duration};

use tower::{Layer, ServiceExt};
use towerkit_core::{Call, CarriesRejection, Clock, Rejection, RejectionReason};
use towerkit_http::HttpExt;
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_test::{Act, Probe};

fn quota(count: u32, burst: u32) -> Quota {
    Quota::per_second(count).unwrap().burst(burst).unwrap()
}

/// RL-07: and what could never be admitted is rejected without a time to come back at.
#[tokio::test]
async fn a_call_takes_as_many_tokens_as_it_costs() {
    let (clock, hand) = Clock::manual();
    let layer = RateLimitLayer::new(quota(10, 5)).clock(clock);
    let layer = layer.cost(|call: &Call<'_, Act>| match &*call.request {
        Act::Pend(cost) => *cost,
        _ => 1,
    });
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let call = |cost| service.clone().oneshot(Act::Pend(cost));
    let rejected = |result: Result<_, towerkit_test::ProbeError>| {
        let rejection = result.unwrap_err().rejection().cloned().unwrap();
        (rejection.reason(), rejection.retry_after())
    };
    call(3).await.unwrap();
    assert_eq!(handle.available(), 2);
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
    assert_eq!(handle.available(), 2);
    hand.advance(Duration::from_millis(100));
    call(3).await.unwrap();
    assert_eq!(handle.available(), 0);
}

/// The bytes of a response are known when it is over; they leave a debt that is paid before the next call.
#[tokio::test]
async fn a_response_is_paid_for_by_its_bytes() {
    use bytes::Bytes;
    use http::{Request, Response, StatusCode};
    use http_body_util::{BodyExt, Full};

    let (clock, hand) = Clock::manual();
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
    assert_eq!(handle.available(), 600);
    assert_eq!(call(1_000_000).await, StatusCode::OK);
    assert_eq!(call(0).await, StatusCode::TOO_MANY_REQUESTS);
    hand.advance(Duration::from_millis(1000));
    assert_eq!(call(0).await, StatusCode::TOO_MANY_REQUESTS);
    hand.advance(Duration::from_millis(1));
    assert_eq!(call(0).await, StatusCode::OK);
}

/// However a call ends: cancelled, failed, rejected further in. A panic is not asked about, and one in the function costs nothing.
#[tokio::test]
async fn every_end_is_paid_for_once() {
    let (clock, _hand) = Clock::manual();
    let layer = RateLimitLayer::new(quota(1, 100))
        .clock(clock)
        .cost_at_end(|end| {
            assert!(!end.panicked());
            match end.outcome() {
                towerkit_core::Outcome::Cancelled => panic!("the function's own"),
                _ => 10,
            }
        });
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let call = |act| service.clone().oneshot(act);
    assert!(call(Act::Fail).await.is_err());
    assert_eq!(handle.available(), 100 - 11);
    let caught = futures_util::FutureExt::catch_unwind(AssertUnwindSafe(call(Act::PanicInFuture)));
    assert!(caught.await.is_err());
    assert_eq!(handle.available(), 100 - 12);
    let mut cancelled = Box::pin(call(Act::Pend(5)));
    assert!(futures_util::poll!(cancelled.as_mut()).is_pending());
    drop(cancelled);
    assert_eq!(handle.available(), 100 - 13);
    assert_eq!(
        Rejection::new(RejectionReason::RateLimited, "x").retry_after(),
        None
    );
}
