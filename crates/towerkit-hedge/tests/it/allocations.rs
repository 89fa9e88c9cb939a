//! A call without a hedge does not allocate.

use std::{
    future::ready,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use tower::{Layer, Service, service_fn};
use towerkit_core::{BoxError, Clock, LayerExt, NoProtocol};
use towerkit_hedge::{HedgeLayer, Percentile};
use towerkit_retry::Idempotence;

fn allocations<I: Idempotence<u32> + Clone>(layer: HedgeLayer<NoProtocol, I>) -> u64 {
    let mut service = layer
        .plain("echo")
        .layer(service_fn(|n: u32| ready(Ok::<_, BoxError>(n))));
    let mut cx = Context::from_waker(Waker::noop());
    let seen = measure(|| {
        for n in 0..1000 {
            assert!(service.poll_ready(&mut cx).is_ready());
            let mut call = pin!(service.call(n));
            assert!(matches!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
        }
    });
    seen.count_total
}

#[test]
fn a_call_that_is_ready_at_once_allocates_nothing() {
    let (clock, _clock_control) = Clock::manual();
    let after = HedgeLayer::after(Duration::from_millis(50)).unwrap();
    let at = HedgeLayer::at(Percentile::new(0.95).unwrap()).clock(clock);
    assert_eq!(allocations(after.clone()), 0);
    assert_eq!(allocations(after.idempotent()), 0);
    assert_eq!(allocations(at.idempotent()), 0);
    let counted = measure(|| drop(Box::new(1))).count_total;
    assert!(counted > 0, "the counter counts");
}
