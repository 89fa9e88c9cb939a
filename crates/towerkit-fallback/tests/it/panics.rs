//! After a callback panics the next call is served.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tower::{Layer, Service, ServiceExt};
use towerkit_core::{CallEnd, Event, LayerExt, Outcome, Plain};
use towerkit_fallback::FallbackLayer;
use towerkit_test::{Action, Probe, ProbeError};

/// Panics once.
fn fuse() -> impl Fn() + Clone + Send + Sync + 'static {
    let is_new = Arc::new(AtomicBool::new(true));
    move || assert!(!is_new.swap(false, Ordering::SeqCst), "a callback panics")
}

/// Makes a call that falls back, in which a callback panics, and another.
async fn check<L>(layer: L, is_panic: bool)
where
    L: Layer<Probe>,
    L::Service: Service<Action, Response = Action, Error = ProbeError, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let probe = Probe::new();
    let counts = probe.counts();
    let service = layer.layer(probe);
    let call = tokio::spawn(service.clone().oneshot(Action::Fail));
    assert_eq!(call.await.is_err(), is_panic);
    assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
    assert_eq!(
        service.oneshot(Action::Fail).await.unwrap(),
        Action::Succeed
    );
    assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
}

fn chooses() -> impl Fn(&CallEnd) -> bool + Send + Sync + 'static {
    let burn = fuse();
    move |_| {
        burn();
        true
    }
}

fn plain() -> Plain<impl towerkit_core::Classify<Action, ProbeError> + Clone + Send + Sync + 'static>
{
    let burn = fuse();
    Plain::new("probe").classify(move |result: &Result<Action, ProbeError>| {
        burn();
        if result.is_ok() {
            Outcome::Success
        } else {
            Outcome::Failure
        }
    })
}

#[tokio::test]
async fn a_callback_that_panics_does_not_affect_later_calls() {
    let value = || FallbackLayer::value(Action::Succeed);
    check(value().when(chooses()).plain("probe"), true).await;
    check(value().protocol(plain()), true).await;
    let burn = fuse();
    check(
        value().events(move |_: &Event| burn()).plain("probe"),
        false,
    )
    .await;
    let burn = fuse();
    let function = FallbackLayer::function(move |_: Result<Action, ProbeError>, _: &CallEnd| {
        burn();
        Ok(Action::Succeed)
    });
    check(function.plain("probe"), true).await;
    let other = || FallbackLayer::service(tower::service_fn(async |_: Action| Ok(Action::Succeed)));
    check(other().when(chooses()).plain("probe"), true).await;
    check(other().protocol(plain()), true).await;
}
