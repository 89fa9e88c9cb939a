//! A callback that panics releases the claim of its caller, and the next caller fetches the response.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use tower::{Layer, Service, ServiceExt};
use towerkit_cache::{CacheLayer, Capacity, Lifetime};
use towerkit_core::{KeyType, LayerExt, Outcome, Plain};
use towerkit_test::{Action, Probe, ProbeError, run_paused, tokio_clock};

const SECOND: Duration = Duration::from_secs(1);

/// Panics once after it was armed.
#[derive(Clone, Default)]
struct PanicOnce(Arc<AtomicBool>);

impl PanicOnce {
    fn arm(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn check(&self) {
        assert!(!self.0.swap(false, Ordering::SeqCst), "a callback panics");
    }
}

fn new<F: Fn(&Action) -> Option<u8>>(key: F) -> CacheLayer<towerkit_core::KeyFn<F, u8>> {
    let lifetime = Lifetime::new(SECOND)
        .and_then(|lifetime| lifetime.stale_while_revalidate(60 * SECOND))
        .unwrap();
    CacheLayer::new(lifetime, Capacity::entries(10).unwrap(), key).clock(tokio_clock())
}

/// Makes a callback panic in the call that fetches the response after a stale one.
fn check<X: KeyType, P>(layer: CacheLayer<X, P>, panics: &PanicOnce)
where
    CacheLayer<X, P>: Layer<
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
        let service = layer.layer(probe);
        let call = || tokio::spawn(service.clone().oneshot(Action::Succeed));
        call().await.unwrap().unwrap();
        tokio::time::advance(2 * SECOND).await;
        panics.arm();
        assert!(call().await.is_err_and(|error| error.is_panic()));
        assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
        let started = counts.started();
        call().await.unwrap().unwrap();
        assert_eq!(
            counts.started(),
            started + 1,
            "it fetches the next response"
        );
        call().await.unwrap().unwrap();
        assert_eq!(counts.started(), started + 1, "the response is cached");
    });
}

#[test]
fn after_a_callback_panics_the_next_call_fetches() {
    let panics = PanicOnce::default();
    let layer = || new(|_| Some(1));
    let panicking = panics.clone();
    let key = move |_: &Action| {
        panicking.check();
        Some(1)
    };
    check(new(key).plain("probe"), &panics);
    let panicking = panics.clone();
    let keep = move |_: &towerkit_core::CallEnd| {
        panicking.check();
        true
    };
    check(layer().keep(keep).plain("probe"), &panics);
    let panicking = panics.clone();
    let plain = Plain::new("probe").classify(move |_: &Result<Action, ProbeError>| {
        panicking.check();
        Outcome::Success
    });
    check(layer().protocol(plain), &panics);
}
