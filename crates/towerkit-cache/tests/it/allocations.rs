//! The allocations of a call.

use std::{future::poll_fn, pin::pin, task, time::Duration};

use allocation_counter::measure;
use tower::{Layer, Service};
use towerkit_cache::{CacheLayer, Capacity, Lifetime};
use towerkit_core::LayerExt;
use towerkit_test::{Action, Probe};

fn poll_to_the_end<F: Future>(future: F) {
    let mut cx = task::Context::from_waker(task::Waker::noop());
    let mut future = pin!(future);
    while future.as_mut().poll(&mut cx).is_pending() {}
}

fn call<S: Service<Action>>(service: &mut S) {
    poll_to_the_end(poll_fn(|cx| service.poll_ready(cx)));
    poll_to_the_end(service.call(Action::Succeed));
}

fn layer<K>(
    key: impl Fn(&Action) -> Option<K> + Clone,
) -> impl Layer<Probe, Service: Service<Action>>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
{
    let lifetime = Lifetime::new(Duration::from_secs(60)).unwrap();
    CacheLayer::new(lifetime, Capacity::entries(10).unwrap(), key).plain("probe")
}

/// The housekeeping of the map allocates now and then.
#[test]
fn a_hit_allocates_nothing() {
    let mut service = layer(|_| Some(7)).layer(Probe::new());
    call(&mut service);
    let seen = measure(|| (0..1_000).for_each(|_| call(&mut service)));
    assert!(seen.count_total < 100, "{seen:?}");
    let fewest = (0..100).map(|_| measure(|| call(&mut service)).count_total);
    assert_eq!(fewest.min(), Some(0));
}

#[test]
fn a_bypassing_call_allocates_nothing() {
    let mut service = layer(|_| None::<u8>).layer(Probe::new());
    let seen = measure(|| call(&mut service));
    assert_eq!(seen.count_total, 0);
}
