//! A call that ends in time allocates no memory and leaves no timer.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use http::{Request, Response};
use http_body_util::Empty;
use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_core::{Clock, Deadline, LayerExt};
use towerkit_http::HttpExt;
use towerkit_test::{Action, Probe};
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

/// TO-05: calls that waited and ended leave no timers.
#[test]
fn answered_calls_leave_no_timers() {
    let layer = TimeoutLayer::new(Duration::from_secs(30)).unwrap();
    let service = layer.plain("nap").layer(Probe::new());
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let call_many = |calls| {
        runtime.block_on(async {
            for _ in 0..calls {
                let nap = Action::Sleep(Duration::from_millis(1));
                service.clone().oneshot(nap).await.unwrap();
            }
        });
    };
    call_many(10);
    let left = measure(|| call_many(10_000));
    assert_eq!((left.bytes_current, left.count_current), (0, 0));
}
