//! A successful call allocates nothing if no request is recorded.

use std::{
    future::{Ready, ready},
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use tower::{Layer, Service, service_fn};
use towerkit_core::{BoxError, LayerExt};
use towerkit_fallback::FallbackLayer;

fn halve(n: u32) -> Ready<Result<u32, BoxError>> {
    ready(Ok(n / 2))
}

fn allocations(mut service: impl Service<u32, Response = u32>) -> u64 {
    let seen = measure(|| {
        let mut cx = Context::from_waker(Waker::noop());
        let mut call = std::pin::pin!(service.call(8));
        let answer = call.as_mut().poll(&mut cx);
        assert!(matches!(answer, Poll::Ready(Ok(4))));
    });
    seen.count_total
}

#[test]
fn a_call_that_succeeds_allocates_nothing() {
    let inner = || service_fn(halve);
    let value = FallbackLayer::value(99).plain("halve").layer(inner());
    let function = FallbackLayer::function(|failed, _end| failed);
    let function = function.plain("halve").layer(inner());
    let service = FallbackLayer::service(inner())
        .plain("halve")
        .layer(inner());
    assert_eq!(allocations(value), 0);
    assert_eq!(allocations(function), 0);
    assert_eq!(allocations(service), 0, "a kept number needs no memory");
}
