//! What a call costs that is not hedged: no allocation.

use std::{
    future::ready,
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use tower::{Layer, Service, service_fn};
use towerkit_core::{BoxError, Clock};
use towerkit_hedge::{HedgeLayer, Percentile};

#[test]
fn a_call_that_is_ready_at_once_allocates_nothing() {
    let (clock, _hand) = Clock::manual();
    let after = HedgeLayer::after(std::time::Duration::from_millis(50)).unwrap();
    let at = HedgeLayer::at(Percentile::new(0.95).unwrap()).clock(clock);
    for layer in [after.clone(), after.idempotent(), at.idempotent()] {
        let mut service = layer.layer(service_fn(|n: u32| ready(Ok::<_, BoxError>(n))));
        let mut cx = Context::from_waker(Waker::noop());
        let seen = measure(|| {
            for n in 0..1000 {
                assert!(service.poll_ready(&mut cx).is_ready());
                let mut call = pin!(service.call(n));
                assert!(matches!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
            }
        });
        assert_eq!(seen.count_total, 0);
    }
    assert!(
        measure(|| drop(Box::new(1))).count_total > 0,
        "the counter counts"
    );
}
