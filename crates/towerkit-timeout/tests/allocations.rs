//! What a call in time allocates: nothing.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use http::{Request, Response};
use http_body_util::Empty;
use tower::{Layer, Service, service_fn};
use towerkit_core::{Clock, Deadline};
use towerkit_http::HttpExt;
use towerkit_timeout::TimeoutLayer;

type Answer = Response<Empty<bytes::Bytes>>;

fn answer(_: Request<()>) -> Ready<Result<Answer, Infallible>> {
    ready(Ok(Response::default()))
}

/// TO-05
#[test]
fn a_timeout_allocates_nothing_with_or_without_a_deadline() {
    let layer = TimeoutLayer::new(Duration::from_secs(1)).unwrap();
    let mut service = layer.http().layer(service_fn(answer));
    let mut with_deadline = Request::new(());
    let deadline = Deadline::after(&Clock::default(), Duration::from_secs(60));
    with_deadline.extensions_mut().insert(deadline);
    for request in [Request::new(()), with_deadline] {
        let mut cx = Context::from_waker(Waker::noop());
        let seen = measure(|| {
            let mut call = std::pin::pin!(service.call(request));
            let answer = call.as_mut().poll(&mut cx);
            assert!(matches!(answer, Poll::Ready(Ok(answer)) if answer.status() == 200));
        });
        assert_eq!(seen.count_total, 0);
    }
}
