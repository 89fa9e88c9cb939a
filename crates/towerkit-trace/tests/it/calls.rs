//! Services that answer at once without an allocation, and calls of them.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{Service, service_fn};
use towerkit_core::BoxError;

/// The response of a service over HTTP.
type Answer = Response<Full<Bytes>>;
type Answered = Ready<Result<Answer, Infallible>>;

/// A service over HTTP.
pub(crate) fn answer_http()
-> impl Service<Request<()>, Response = Answer, Error = Infallible, Future = Answered> {
    service_fn(|_: Request<()>| {
        let body = Full::new(Bytes::from_static(b"hello"));
        ready(Ok(Response::new(body)))
    })
}

/// A plain service.
pub(crate) fn answer_plain()
-> impl Service<u64, Response = u64, Error = BoxError, Future = Ready<Result<u64, BoxError>>> {
    service_fn(|number: u64| ready(Ok(number)))
}

fn finished<F: Future>(future: F) -> F::Output {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut cx) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it answers at once"),
    }
}

/// Calls a service over HTTP and reads its answer.
pub(crate) fn http<S, B>(service: &mut S, request: Request<()>)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let Ok(response) = finished(service.call(request));
    let mut body = pin!(response.into_body());
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
        assert!(frame.is_ok());
    }
}

/// Calls a plain service.
pub(crate) fn plain<S>(service: &mut S)
where
    S: Service<u64, Response = u64, Error = BoxError>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    assert_eq!(finished(service.call(7)).unwrap(), 7);
}
