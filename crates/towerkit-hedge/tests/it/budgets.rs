//! The cap and the shared budget.

use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use towerkit_hedge::{HedgeLayer, Percentile};
use towerkit_http::{Http, HttpExt};
use towerkit_retry::{Budget, RetryLayer};
use towerkit_test::tokio_clock;

use crate::{
    backend::{Backend, MS, reply},
    call, get, layer, number, request,
};

/// Calls every 10 ms without waiting for responses, and returns the number of requests that reached the backend.
async fn load(layer: &HedgeLayer<Http>, backend: &Backend, calls: usize) -> usize {
    let before = backend.times().len();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..calls {
        let (layer, backend) = (layer.clone(), backend.clone());
        running.spawn(async move { call(&layer, &backend, get()).await.unwrap() });
        sleep(10 * MS).await;
    }
    running.join_all().await;
    backend.times().len() - before
}

/// HG-02: one minute of slow responses follows ten seconds of fast ones.
#[tokio::test(start_paused = true)]
async fn a_slow_backend_gets_at_most_a_twentieth_more_calls() {
    const CALLS: usize = 6000;
    let percentile = Percentile::new(0.95).unwrap();
    let at = HedgeLayer::at(percentile).clock(tokio_clock()).http();
    for layer in [layer(), at.clone(), layer().max_hedges(4).unwrap()] {
        let healthy = Backend::new([reply(20 * MS, 200)]);
        assert_eq!(load(&layer, &healthy, 1000).await, 1000);
        let sent = load(&layer, &Backend::new([reply(200 * MS, 200)]), CALLS).await;
        assert!(sent <= CALLS + CALLS / 20 + 10, "{sent}");
    }
    // With a fixed delay the layer uses its whole cap.
    let sent = load(&layer(), &Backend::new([reply(200 * MS, 200)]), CALLS).await;
    assert!(sent >= CALLS + CALLS / 20, "{sent}");
}

/// HG-03
#[tokio::test(start_paused = true)]
async fn a_call_whose_hedge_is_rejected_waits_for_its_first_attempt() {
    let layer = layer().cap(0.05, 1).unwrap();
    let backend = Backend::new([reply(300 * MS, 200)]);
    call(&layer, &backend, get()).await.unwrap();
    assert_eq!(backend.times().len(), 2);
    for _ in 0..10 {
        let start = Instant::now();
        let backend = Backend::new([reply(300 * MS, 200)]);
        let response = call(&layer, &backend, get()).await.unwrap();
        assert_eq!((number(response).await, start.elapsed()), (0, 300 * MS));
        assert_eq!(backend.times().len(), 1);
    }
    // And a failure is returned as it is.
    let backend = Backend::new([reply(10 * MS, 503), reply(Duration::ZERO, 200)]);
    let response = call(&layer, &backend, get()).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), backend.times().len()),
        (503, 1)
    );
    assert_eq!(layer.handle().snapshot().rejected, 11);
}

/// HG-03, for the budget that is shared with retries.
#[tokio::test(start_paused = true)]
async fn the_shared_budget_must_allow_a_hedge_as_well() {
    let budget = Budget::new(1.0, 0).unwrap().clock(tokio_clock());
    let layer = layer().budget(budget.clone());
    budget.deposit();
    for attempts in [2, 1] {
        let backend = Backend::new([reply(300 * MS, 200)]);
        let response = call(&layer, &backend, get()).await.unwrap();
        assert_eq!(number(response).await, 0);
        assert_eq!(backend.times().len(), attempts);
    }
    // The cap gets a refund for the hedge that the budget rejected.
    let snapshot = layer.handle().snapshot();
    assert_eq!(
        (snapshot.hedges, snapshot.rejected, snapshot.available),
        (1, 1, 9)
    );
    assert_eq!(budget.snapshot().withdrawn, 1);
}

/// The cap is asked first.
#[tokio::test(start_paused = true)]
async fn a_rejection_by_the_cap_withdraws_no_token_of_the_shared_budget() {
    let budget = Budget::new(1.0, 0).unwrap().clock(tokio_clock());
    (0..5).for_each(|_| budget.deposit());
    let layer = layer().budget(budget.clone()).cap(0.05, 1).unwrap();
    let backend = Backend::new([reply(300 * MS, 200)]);
    for _ in 0..5 {
        call(&layer, &backend, get()).await.unwrap();
    }
    assert_eq!(budget.snapshot().withdrawn, 1);
}

/// Without a shared budget they multiply: three attempts, each with a hedge, are six.
#[tokio::test(start_paused = true)]
async fn a_retry_outside_and_its_hedges_share_a_budget() {
    let attempts = async |budget: Budget| {
        let hedge = layer().budget(budget.clone());
        let retry = RetryLayer::new().budget(budget).http();
        let backend = Backend::new([reply(10 * MS, 503)]);
        let service = retry.layer(hedge.layer(backend.clone()));
        let put = request(Method::PUT, "ferris");
        let response = service.oneshot(put).await.unwrap();
        assert_eq!(response.status(), 503);
        assert!(backend.seen().iter().all(|seen| seen.body == "ferris"));
        backend.times().len()
    };
    let budget = |ratio| Budget::new(ratio, 0).unwrap().clock(tokio_clock());
    assert_eq!(attempts(budget(10.0)).await, 6);
    assert_eq!(attempts(budget(2.0)).await, 3);
    assert_eq!(attempts(budget(1.0)).await, 2);
}
