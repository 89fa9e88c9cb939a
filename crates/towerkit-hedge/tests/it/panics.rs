//! A callback that panics releases everything, and the next call is served.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tower::{Layer, Service, ServiceExt};
use towerkit_core::{Event, LayerExt, Outcome, Plain};
use towerkit_hedge::{Hedge, HedgeLayer};
use towerkit_test::{Action, Probe, ProbeError};

use crate::backend::MS;

/// Returns a function that panics once.
fn panic_once() -> impl Fn() + Clone + Send + Sync + 'static {
    let is_new = Arc::new(AtomicBool::new(true));
    move || assert!(!is_new.swap(false, Ordering::SeqCst), "a callback panics")
}

/// Makes a hedged call in which a callback panics, and another call.
async fn check<P, I>(layer: HedgeLayer<P, I>, is_panic: bool)
where
    HedgeLayer<P, I>: Layer<Probe, Service = Hedge<Probe, P, I>>,
    Hedge<Probe, P, I>: Service<Action, Response = Action, Error = ProbeError, Future: Send>
        + Send
        + Clone
        + 'static,
{
    let probe = Probe::new();
    let counts = probe.counts();
    let handle = layer.handle();
    let service = layer.layer(probe);
    let call = tokio::spawn(service.clone().oneshot(Action::Sleep(300 * MS)));
    assert_eq!(call.await.is_err(), is_panic);
    assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
    assert!(service.oneshot(Action::Sleep(300 * MS)).await.is_ok());
    assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
    let snapshot = handle.snapshot();
    let spent = u64::from(10 - snapshot.available);
    assert_eq!(
        spent, snapshot.hedges,
        "a token for each hedge that was sent"
    );
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_does_not_affect_later_calls() {
    let layer = || HedgeLayer::after(50 * MS).unwrap().plain("probe");
    let panic_first = panic_once();
    let idempotent = move |_: &Action| {
        panic_first();
        true
    };
    check(layer().idempotent_if(idempotent), true).await;
    let panic_first = panic_once();
    check(
        layer().events(move |_: &Event| panic_first()).idempotent(),
        false,
    )
    .await;
    let panic_first = panic_once();
    let plain = Plain::new("probe").classify(move |_: &Result<Action, ProbeError>| {
        panic_first();
        Outcome::Success
    });
    check(layer().protocol(plain).idempotent(), true).await;
}
