//! Callbacks that panic leave nothing behind, and those who wait are served.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tower::{Layer, Service, ServiceExt};
use towerkit_coalesce::CoalesceLayer;
use towerkit_core::{Keyed, LayerExt, Outcome, Plain};
use towerkit_test::{Act, Probe, ProbeError, run_paused};

/// Panics once.
fn fuse() -> impl Fn() + Clone + Send + Sync + 'static {
    let is_new = Arc::new(AtomicBool::new(true));
    move || assert!(!is_new.swap(false, Ordering::SeqCst), "a callback panics")
}

/// Makes three calls at once, in one of which a callback panics.
fn check<X: Keyed, P>(layer: CoalesceLayer<X, P>)
where
    CoalesceLayer<X, P>: Layer<
            Probe,
            Service: Service<Act, Response = Act, Error = ProbeError, Future: Send>
                         + Clone
                         + Send
                         + 'static,
        >,
{
    run_paused(async {
        let probe = Probe::new();
        let ledger = probe.ledger();
        let handle = layer.handle();
        let service = layer.layer(probe);
        let call = || tokio::spawn(service.clone().oneshot(Act::Pend(2)));
        let calls = [call(), call(), call()];
        let mut panics = 0;
        for call in calls {
            match call.await {
                Ok(answer) => assert_eq!(answer.unwrap(), Act::Pend(2)),
                Err(error) => panics += u32::from(error.is_panic()),
            }
        }
        assert_eq!(panics, 1);
        assert_eq!((ledger.in_flight(), ledger.reserved()), (0, 0));
        assert_eq!(handle.snapshot().in_flight, 0);
    });
}

#[test]
fn a_callback_that_panics_leaves_nothing_behind() {
    let layer = || CoalesceLayer::new(|_: &Act| Some(1));
    let burn = fuse();
    let key = move |_: &Act| {
        burn();
        Some(1)
    };
    check(CoalesceLayer::new(key).plain("probe"));
    let burn = fuse();
    let share = move |_: &towerkit_core::CallEnd| {
        burn();
        true
    };
    check(layer().share(share).plain("probe"));
    let burn = fuse();
    let plain = Plain::new("probe").classify(move |_: &Result<Act, ProbeError>| {
        burn();
        Outcome::Success
    });
    check(layer().protocol(plain));
}
