//! The marks by which tiers know that a call was retried already.

use http::HeaderValue;
use tower::Layer;
use towerkit_http::HttpExt;
use towerkit_retry::{GaveUp, RETRY_ATTEMPT, RetryLayer};

use crate::setup::{Script, answer, call, get, report};

#[tokio::test(start_paused = true)]
async fn a_request_that_is_a_retry_is_tried_once_where_told_so() {
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
async fn a_failure_that_was_retried_further_in_is_not_retried() {
    let script = Script::of(&[503; 9]);
    let layer = RetryLayer::new().http().unless_retried();
    let outer = layer.clone().layer(layer.clone().layer(script.clone()));
    // Two layers nested in one process: the inner one retries, the outer one sees the mark.
    let response = call(&outer, get()).await;
    assert_eq!(script.calls(), 3);
    assert_eq!(response.headers()[RETRY_ATTEMPT], "2");
    assert_eq!(report(&response).gave_up(), Some(GaveUp::Retried));
}

#[tokio::test(start_paused = true)]
async fn a_mark_means_nothing_where_it_is_not_heeded() {
    let marked = || answer(503, &[(RETRY_ATTEMPT, "2")]);
    let script = Script::new([marked(), marked()]);
    let service = RetryLayer::new().http().layer(script.clone());
    assert_eq!(call(&service, get()).await.status(), 200);
    assert_eq!(script.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_success_is_not_marked() {
    let script = Script::of(&[503]);
    let service = RetryLayer::new()
        .http()
        .unless_retried()
        .layer(script.clone());
    let response = call(&service, get()).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key(RETRY_ATTEMPT));
}
