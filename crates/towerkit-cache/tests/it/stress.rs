//! Many threads call while responses are invalidated: no call returns a response that was invalidated before it.

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
fn no_call_returns_a_response_that_was_invalidated_before() {
    const KEYS: usize = 4;
    const ROUNDS: u64 = 20_000;
    // The current value of each key, which only grows.
    let values: Arc<[AtomicU64; KEYS]> = Arc::default();
    let read = values.clone();
    let inner = tower::service_fn(move |key: usize| {
        let read = read.clone();
        async move {
            let value = read[key].load(Ordering::SeqCst);
            let mut is_first = true;
            // The response is pending once, and may be invalidated meanwhile.
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
    let layer = CacheLayer::new(lifetime, capacity, |key: &usize| Some(*key)).plain("values");
    let handle = layer.handle();
    let service = layer.layer(inner);
    thread::scope(|scope| {
        for _ in 0..3 {
            let mut service = service.clone();
            let values = values.clone();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let key = round as usize % KEYS;
                    // All earlier values are invalidated, because the writer invalidates a value before it stores the next but one.
                    let oldest = values[key].load(Ordering::SeqCst).saturating_sub(1);
                    let value = run(service.call(key)).unwrap();
                    assert!(value >= oldest, "{value} was invalidated before {oldest}");
                }
            });
        }
        scope.spawn(|| {
            for round in 0..ROUNDS {
                let key = round as usize % KEYS;
                values[key].fetch_add(1, Ordering::SeqCst);
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
