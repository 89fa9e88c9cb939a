//! After a callback panics the waiters are served.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tower::{Layer, Service, ServiceExt};
use towerkit_coalesce::CoalesceLayer;
use towerkit_core::{KeyType, LayerExt, Outcome, Plain};
use towerkit_test::{Action, Probe, ProbeError, run_paused};

/// Panics once.
fn fuse() -> impl Fn() + Clone + Send + Sync + 'static {
    let is_new = Arc::new(AtomicBool::new(true));
    move || assert!(!is_new.swap(false, Ordering::SeqCst), "a callback panics")
}

/// Makes three calls at once, in one of which a callback panics.
fn check<X: KeyType, P>(layer: CoalesceLayer<X, P>)
where
    CoalesceLayer<X, P>: Layer<
            Probe,
            Service: Service<Action, Response = Action, Error = ProbeError, Future: Send>
                         + Clone
                         + Send
                         + 'static,
        >,
{
    run_paused(async {
        let probe = Probe::new();
        let counts = probe.counts();
        let handle = layer.handle();
        let service = layer.layer(probe);
        let call = || tokio::spawn(service.clone().oneshot(Action::Pend(2)));
        let calls = [call(), call(), call()];
        let mut panics = 0;
        for call in calls {
            match call.await {
                Ok(answer) => assert_eq!(answer.unwrap(), Action::Pend(2)),
                Err(error) => panics += u32::from(error.is_panic()),
            }
        }
        assert_eq!(panics, 1);
        assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
        assert_eq!(handle.snapshot().in_flight, 0);
    });
}

#[test]
fn a_callback_that_panics_does_not_affect_waiters() {
    let layer = || CoalesceLayer::new(|_: &Action| Some(1));
    let burn = fuse();
    let key = move |_: &Action| {
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
    let plain = Plain::new("probe").classify(move |_: &Result<Action, ProbeError>| {
        burn();
        Outcome::Success
    });
    check(layer().protocol(plain));
}
