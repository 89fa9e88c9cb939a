//! The header by which tiers recognise calls that were already retried.

use http::HeaderValue;
use tower::Layer;
use towerkit_http::HttpExt;
use towerkit_retry::{GiveUpReason, RETRY_ATTEMPT, RetryLayer};

use super::setup::{Script, answer, call, get, report};

#[tokio::test(start_paused = true)]
async fn a_retry_of_another_tier_gets_one_attempt() {
    for (unless_retried, calls) in [(false, 3), (true, 1)] {
        let script = Script::of(&[503; 3]);
        let layer = RetryLayer::new().http();
        let layer = if unless_retried {
            layer.unless_retried()
        } else {
            layer
        };
        let mut request = get();
        request
            .headers_mut()
            .insert(RETRY_ATTEMPT, HeaderValue::from_static("1"));
        let response = call(&layer.layer(script.clone()), request).await;
        assert_eq!((script.calls(), response.status().as_u16()), (calls, 503));
        assert_eq!(layer.handle().snapshot().budget.calls == 0, unless_retried);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_retried_by_an_inner_tier_is_not_retried() {
    let script = Script::of(&[503; 9]);
    let layer = RetryLayer::new().http().unless_retried();
    let outer = layer.clone().layer(layer.clone().layer(script.clone()));
    // Two layers nested in one process: the inner one retries, the outer one sees the header.
    let response = call(&outer, get()).await;
    assert_eq!(script.calls(), 3);
    assert_eq!(response.headers()[RETRY_ATTEMPT], "2");
    assert_eq!(
        report(&response).give_up_reason(),
        Some(GiveUpReason::AlreadyRetried)
    );
}

#[tokio::test(start_paused = true)]
async fn the_header_has_no_effect_by_default() {
    let marked = || answer(503, &[(RETRY_ATTEMPT, "2")]);
    let script = Script::new([marked(), marked()]);
    let service = RetryLayer::new().http().layer(script.clone());
    assert_eq!(call(&service, get()).await.status(), 200);
    assert_eq!(script.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_success_carries_no_header() {
    let script = Script::of(&[503]);
    let service = RetryLayer::new()
        .http()
        .unless_retried()
        .layer(script.clone());
    let response = call(&service, get()).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key(RETRY_ATTEMPT));
}
