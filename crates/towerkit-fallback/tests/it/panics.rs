//! Callbacks that panic leave nothing behind, and the next call is served.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tower::{Layer, Service, ServiceExt};
use towerkit_core::{CallEnd, Event, LayerExt, Outcome, Plain};
use towerkit_fallback::FallbackLayer;
use towerkit_test::{Act, Probe, ProbeError};

/// Panics once.
fn fuse() -> impl Fn() + Clone + Send + Sync + 'static {
    let is_new = Arc::new(AtomicBool::new(true));
    move || assert!(!is_new.swap(false, Ordering::SeqCst), "a callback panics")
}

/// Makes a call that falls back, in which a callback panics, and another.
async fn check<L>(layer: L, is_panic: bool)
where
    L: Layer<Probe>,
    L::Service:
        Service<Act, Response = Act, Error = ProbeError, Future: Send> + Clone + Send + 'static,
{
    let probe = Probe::new();
    let ledger = probe.ledger();
    let service = layer.layer(probe);
    let call = tokio::spawn(service.clone().oneshot(Act::Fail));
    assert_eq!(call.await.is_err(), is_panic);
    assert_eq!((ledger.in_flight(), ledger.reserved()), (0, 0));
    assert_eq!(service.oneshot(Act::Fail).await.unwrap(), Act::Succeed);
    assert_eq!((ledger.in_flight(), ledger.reserved()), (0, 0));
}

fn chooses() -> impl Fn(&CallEnd) -> bool + Send + Sync + 'static {
    let burn = fuse();
    move |_| {
        burn();
        true
    }
}

fn plain() -> Plain<impl towerkit_core::Classify<Act, ProbeError> + Clone + Send + Sync + 'static> {
    let burn = fuse();
    Plain::new("probe").classify(move |result: &Result<Act, ProbeError>| {
        burn();
        if result.is_ok() {
            Outcome::Success
        } else {
            Outcome::Failure
        }
    })
}

#[tokio::test]
async fn a_callback_that_panics_leaves_nothing_behind() {
    let value = || FallbackLayer::value(Act::Succeed);
    check(value().when(chooses()).plain("probe"), true).await;
    check(value().protocol(plain()), true).await;
    let burn = fuse();
    check(
        value().events(move |_: &Event| burn()).plain("probe"),
        false,
    )
    .await;
    let burn = fuse();
    let function = FallbackLayer::function(move |_: Result<Act, ProbeError>, _: &CallEnd| {
        burn();
        Ok(Act::Succeed)
    });
    check(function.plain("probe"), true).await;
    let other = || FallbackLayer::service(tower::service_fn(async |_: Act| Ok(Act::Succeed)));
    check(other().when(chooses()).plain("probe"), true).await;
    check(other().protocol(plain()), true).await;
}
