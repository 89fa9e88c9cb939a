//! Callbacks that panic leave nothing behind, and the next caller fetches the answer.

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

/// Panics when it has been lit, once.
#[derive(Clone, Default)]
struct Fuse(Arc<AtomicBool>);

impl Fuse {
    fn light(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn burn(&self) {
        assert!(!self.0.swap(false, Ordering::SeqCst), "a callback panics");
    }
}

fn new<F: Fn(&Action) -> Option<u8>>(key: F) -> CacheLayer<towerkit_core::KeyFn<F, u8>> {
    let lifetime = Lifetime::new(SECOND)
        .and_then(|lifetime| lifetime.stale_while_revalidate(60 * SECOND))
        .unwrap();
    CacheLayer::new(lifetime, Capacity::entries(10).unwrap(), key).clock(tokio_clock())
}

/// Makes a callback panic in the call that fetches what comes after a stale answer: the next call fetches it.
fn check<X: KeyType, P>(layer: CacheLayer<X, P>, fuse: &Fuse)
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
        fuse.light();
        assert!(call().await.is_err_and(|error| error.is_panic()));
        assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
        let made = counts.started();
        call().await.unwrap().unwrap();
        assert_eq!(counts.started(), made + 1, "it fetches the next answer");
        call().await.unwrap().unwrap();
        assert_eq!(counts.started(), made + 1, "which is there");
    });
}

#[test]
fn a_callback_that_panics_leaves_nothing_behind() {
    let fuse = Fuse::default();
    let layer = || new(|_| Some(1));
    let burning = fuse.clone();
    let key = move |_: &Action| {
        burning.burn();
        Some(1)
    };
    check(new(key).plain("probe"), &fuse);
    let burning = fuse.clone();
    let keep = move |_: &towerkit_core::CallEnd| {
        burning.burn();
        true
    };
    check(layer().keep(keep).plain("probe"), &fuse);
    let burning = fuse.clone();
    let plain = Plain::new("probe").classify(move |_: &Result<Action, ProbeError>| {
        burning.burn();
        Outcome::Success
    });
    check(layer().protocol(plain), &fuse);
}
