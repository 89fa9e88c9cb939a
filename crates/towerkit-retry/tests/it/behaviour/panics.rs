//! Panicking callbacks leave no state behind, and the next call is served.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tower::{Layer, Service, ServiceExt};
use towerkit_core::{Event, LayerExt, Outcome, Plain};
use towerkit_retry::{Retry, RetryLayer};
use towerkit_test::{Action, Probe, ProbeError};

/// Panics once.
fn fuse() -> impl Fn() + Clone + Send + Sync + 'static {
    let is_new = Arc::new(AtomicBool::new(true));
    move || assert!(!is_new.swap(false, Ordering::SeqCst), "a callback panics")
}

/// Makes a retried call with a panicking callback, and then another call.
async fn check<P, I>(layer: RetryLayer<P, I>, is_panic: bool)
where
    P: Clone,
    I: Clone,
    Retry<Probe, P, I>:
        Service<Action, Response = Action, Error = ProbeError, Future: Send> + Send + Clone,
    RetryLayer<P, I>: Layer<Probe, Service = Retry<Probe, P, I>>,
    P: 'static,
    I: 'static,
{
    let probe = Probe::new();
    let counts = probe.counts();
    let service = layer.layer(probe);
    let call = tokio::spawn(service.clone().oneshot(Action::FailFirst(1)));
    assert_eq!(call.await.is_err(), is_panic);
    assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
    assert!(service.oneshot(Action::FailFirst(1)).await.is_ok());
    assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panicking_callback_does_not_affect_the_next_call() {
    let layer = || RetryLayer::new().plain("probe");
    let burn = fuse();
    let idempotent = move |_: &Action| {
        burn();
        true
    };
    check(layer().idempotent_if(idempotent), true).await;
    let burn = fuse();
    let when = move |end: &towerkit_core::CallEnd| {
        burn();
        end.outcome() == Outcome::Failure
    };
    check(layer().when(when).idempotent(), true).await;
    let burn = fuse();
    check(layer().events(move |_: &Event| burn()).idempotent(), false).await;
    let burn = fuse();
    let plain = Plain::new("probe").classify(move |result: &Result<Action, ProbeError>| {
        burn();
        if result.is_ok() {
            Outcome::Success
        } else {
            Outcome::Failure
        }
    });
    check(layer().protocol(plain).idempotent(), true).await;
}
