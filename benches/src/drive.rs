use std::{
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::Router;
use bytes::Bytes;
use http::Response;
use http_body::Body;
use http_body_util::Full;
use tower::Service;

use crate::{HttpRequest, app::request};

/// Makes one call of a plain service and polls it until it is ready.
///
/// # Panics
///
/// If the service rejects or fails, since then something else would be measured than a call that is admitted.
#[inline(always)]
pub fn call_plain<S: Service<u64, Response = u64>>(service: &mut S) {
    call_key(service, 7);
}

/// The same with this request.
///
/// # Panics
///
/// If the service rejects or fails.
#[inline(always)]
pub fn call_key<S: Service<u64, Response = u64>>(service: &mut S, key: u64) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(ready(service.poll_ready(&mut cx)), "not ready");
    let answer = finish(service.call(black_box(key)), &mut cx);
    let Ok(answer) = answer else {
        panic!("a benchmark's call was rejected");
    };
    black_box(answer);
}

/// Makes one call of an HTTP service, polls it until it is ready, and its body to its end.
///
/// # Panics
///
/// If the service rejects or fails, since then something else would be measured than a call that is admitted.
#[inline(always)]
pub fn call_http<S, B>(service: &mut S)
where
    S: Service<HttpRequest, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    call(service, HttpRequest::new(Full::default()));
}

/// Makes one call of a route with a parameter, with eight headers, and polls the body of its response to its end.
///
/// # Panics
///
/// If it is not answered well.
#[inline(always)]
pub fn call_router(app: &mut Router) {
    call(app, request());
}

#[inline(always)]
fn call<S, Req, B>(service: &mut S, request: Req)
where
    S: Service<Req, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(ready(service.poll_ready(&mut cx)), "not ready");
    let Ok(response) = finish(service.call(black_box(request)), &mut cx) else {
        panic!("a benchmark's call failed");
    };
    assert!(response.status().is_success(), "a call was rejected");
    drain(black_box(response).into_body(), &mut cx);
}

#[inline(always)]
fn ready<T, E>(poll: Poll<Result<T, E>>) -> bool {
    matches!(poll, Poll::Ready(Ok(_)))
}

#[inline(always)]
fn finish<F: Future>(future: F, cx: &mut Context<'_>) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return output;
        }
    }
}

/// Polls a body as hyper does: no further once it says that its end is reached.
#[inline(always)]
fn drain<B: Body<Data = Bytes>>(body: B, cx: &mut Context<'_>) {
    let mut body = pin!(body);
    while !body.is_end_stream() {
        match body.as_mut().poll_frame(cx) {
            Poll::Ready(Some(frame)) => {
                black_box(frame.is_ok());
            }
            Poll::Ready(None) => break,
            Poll::Pending => {}
        }
    }
}
