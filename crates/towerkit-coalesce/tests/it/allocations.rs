//! The allocations of coalescing.

use allocation_counter::measure;
use tower::{Layer, Service};
use towerkit_coalesce::CoalesceLayer;
use towerkit_core::LayerExt;
use towerkit_test::{Action, Probe};

fn poll_to_the_end<F: Future>(future: F) {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut future = std::pin::pin!(future);
    while future.as_mut().poll(&mut cx).is_pending() {}
}

async fn ready<S: Service<Action>>(service: &mut S) {
    let ready = std::future::poll_fn(|cx| service.poll_ready(cx)).await;
    assert!(ready.is_ok());
}

/// The shared call is the one allocation. The table is allocated by the first call.
#[test]
fn a_call_without_waiters_allocates_once() {
    let mut service = CoalesceLayer::new(|_: &Action| Some(7))
        .plain("probe")
        .layer(Probe::new());
    let mut call = || {
        poll_to_the_end(ready(&mut service));
        poll_to_the_end(service.call(Action::Succeed));
    };
    call();
    let seen = measure(|| (0..100).for_each(|_| call()));
    assert_eq!(seen.count_total, 100);
    assert_eq!(seen.bytes_current, 0);
}

#[test]
fn a_bypassing_call_allocates_nothing() {
    let mut service = CoalesceLayer::new(|_: &Action| None::<u8>)
        .plain("probe")
        .layer(Probe::new());
    let seen = measure(|| {
        poll_to_the_end(ready(&mut service));
        poll_to_the_end(service.call(Action::Succeed));
    });
    assert_eq!(seen.count_total, 0);
}

/// A crowd with many keys leaves no table behind that is as large as the crowd.
#[test]
fn many_waiters_leave_little_memory() {
    let layer = CoalesceLayer::new(|act: &Action| Some(format!("{act:?}"))).plain("probe");
    let handle = layer.handle();
    let mut service = layer.layer(Probe::new());
    let mut crowd = |wide| {
        let mut call = |at| {
            poll_to_the_end(ready(&mut service));
            service.call(Action::Pend(at))
        };
        let calls: Vec<_> = (0..wide).map(&mut call).collect();
        assert_eq!(handle.snapshot().in_flight, wide as usize);
        drop(calls);
        assert_eq!(handle.snapshot().in_flight, 0);
    };
    crowd(1);
    let seen = measure(|| crowd(10_000));
    assert!(seen.bytes_max > 1_000_000);
    assert!(seen.bytes_current < 10_000, "{seen:?}");
}
