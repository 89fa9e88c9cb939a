//! The retries that a budget allows.

use tower::Layer;
use towerkit_core::Clock;
use towerkit_http::HttpExt;
use towerkit_retry::{Budget, GiveUpReason, RetryLayer};

use super::setup::{Script, call, get, report};

fn budget(ratio: f64) -> Budget {
    Budget::new(ratio, 0).unwrap().clock(Clock::manual().0)
}

#[tokio::test(start_paused = true)]
async fn retries_are_limited_to_a_share_of_the_calls() {
    let layer = RetryLayer::new().http().budget(budget(0.2));
    let handle = layer.handle();
    let script = Script::of(&[503; 1000]);
    let service = layer.layer(script.clone());
    let mut given_up = Vec::new();
    for _ in 0..100 {
        given_up.push(report(&call(&service, get()).await).give_up_reason());
    }
    assert_eq!(script.calls(), 120);
    assert!(
        given_up
            .iter()
            .all(|why| *why == Some(GiveUpReason::Budget))
    );
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.retries, snapshot.exhausted), (20, 100));
    assert_eq!((snapshot.budget.calls, snapshot.budget.available), (100, 0));
}

#[tokio::test(start_paused = true)]
async fn successful_calls_deposit_for_failed_ones() {
    let layer = RetryLayer::new().http().budget(budget(0.1));
    let ok = layer.layer(Script::of(&[]));
    for _ in 0..9 {
        call(&ok, get()).await;
    }
    let failing = layer.layer(Script::of(&[503]));
    assert_eq!(call(&failing, get()).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn layers_can_share_a_budget() {
    let shared = budget(1.0);
    let one = RetryLayer::new().http().budget(shared.clone());
    let two = RetryLayer::new().http().budget(shared.clone());
    call(&one.layer(Script::of(&[])), get()).await;
    call(&two.layer(Script::of(&[503, 503])), get()).await;
    assert_eq!(two.handle().snapshot().retries, 2);
    assert_eq!(one.handle().snapshot().retries, 0);
    assert_eq!(shared.snapshot().available, 0);
}

/// A call that is given up for another reason costs no budget.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_retried_costs_no_budget() {
    let layer = RetryLayer::new().http().attempts(1).unwrap();
    let handle = layer.handle();
    call(&layer.layer(Script::of(&[503])), get()).await;
    assert_eq!(handle.snapshot().budget.withdrawn, 0);
}
