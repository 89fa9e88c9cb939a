//! Many callers on many threads while answers are invalidated: nobody gets an answer that was invalidated before the call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tower::{Layer, Service};
use towerkit_cache::{CacheLayer, Capacity, Lifetime};
use towerkit_core::{BoxError, LayerExt};

/// Polls a future that is ready after few polls.
fn run<F: Future>(future: F) -> F::Output {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        thread::yield_now();
    }
}

#[test]
fn nobody_gets_what_was_invalidated_before() {
    const KEYS: usize = 4;
    const ROUNDS: u64 = 20_000;
    // What each key stands for now: only ever more.
    let truth: Arc<[AtomicU64; KEYS]> = Arc::default();
    let read = truth.clone();
    let inner = tower::service_fn(move |key: usize| {
        let read = read.clone();
        async move {
            let value = read[key].load(Ordering::SeqCst);
            let mut is_first = true;
            // The answer is on its way for a moment, in which it may become an old one.
            std::future::poll_fn(|_| {
                let is_ready = !std::mem::take(&mut is_first);
                if is_ready {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            })
            .await;
            Ok::<_, BoxError>(value)
        }
    });
    let lifetime = Lifetime::new(Duration::from_secs(3600)).unwrap();
    let capacity = Capacity::entries(100).unwrap();
    let layer = CacheLayer::new(lifetime, capacity, |key: &usize| Some(*key)).plain("truth");
    let handle = layer.handle();
    let service = layer.layer(inner);
    thread::scope(|scope| {
        for _ in 0..3 {
            let mut service = service.clone();
            let truth = truth.clone();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let key = round as usize % KEYS;
                    // Known to be invalidated when this is read: the writer invalidates before it counts on.
                    let known = truth[key].load(Ordering::SeqCst).saturating_sub(1);
                    let value = run(service.call(key)).unwrap();
                    assert!(value >= known, "{value} was invalidated, {known} was there");
                }
            });
        }
        scope.spawn(|| {
            for round in 0..ROUNDS {
                let key = round as usize % KEYS;
                truth[key].fetch_add(1, Ordering::SeqCst);
                if round % 64 == 0 {
                    handle.clear();
                } else {
                    handle.invalidate(&key);
                }
            }
        });
    });
    let seen = handle.snapshot();
    assert!(seen.hits > 0 && seen.misses > 0, "{seen:?}");
}
