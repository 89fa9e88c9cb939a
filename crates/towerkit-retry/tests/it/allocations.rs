//! What a call costs that succeeds at once.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service};
use towerkit_core::LayerExt;
use towerkit_http::HttpExt;
use towerkit_retry::{Budget, RetryLayer};

#[derive(Clone)]
struct Succeeds;

impl Service<u32> for Succeeds {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, n: u32) -> Self::Future {
        ready(Ok(n))
    }
}

impl<B> Service<Request<B>> for Succeeds {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Empty<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

/// Calls a service whose future is ready at the first poll, and counts what is allocated.
fn allocations<S: Service<Req>, Req>(mut service: S, request: Req) -> u64 {
    let mut cx = Context::from_waker(Waker::noop());
    let seen = measure(move || {
        assert!(service.poll_ready(&mut cx).is_ready());
        assert!(pin!(service.call(request)).poll(&mut cx).is_ready());
    });
    seen.count_total
}

#[test]
fn a_plain_call_that_succeeds_allocates_nothing() {
    let layer = RetryLayer::new().plain("test");
    assert_eq!(allocations(layer.clone().layer(Succeeds), 7), 0);
    assert_eq!(allocations(layer.idempotent().layer(Succeeds), 7), 0);
    assert!(
        measure(|| drop(Box::new(1))).count_total > 0,
        "the counter counts"
    );
}

#[test]
fn a_call_over_http_allocates_at_most_to_record_a_boxed_body() {
    let service = RetryLayer::new().http().layer(Succeeds);
    let without_body = Request::new(Empty::<Bytes>::new());
    assert_eq!(allocations(service.clone(), without_body), 0);
    let with_body = Request::new(Full::from("hello"));
    assert_eq!(allocations(service.clone(), with_body.clone()), 0);
    let boxed = with_body.map(BodyExt::boxed_unsync);
    // The recording, the list of its frames and the box around the body.
    assert!((1..=3).contains(&allocations(service, boxed)));
}

#[test]
fn neither_deposits_nor_withdrawals_allocate() {
    let budget = Budget::default();
    let seen = measure(|| {
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!((0..1000).filter(|_| budget.try_withdraw()).count(), 300);
    });
    assert_eq!(seen.count_total, 0);
}
