//! Calls with a streaming response.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen, SlowCall, State};
use towerkit_core::Clock;
use towerkit_http::HttpExt;

use super::setup::{consecutive, ended};

/// A body of so many messages, with a status in its trailers.
struct Messages {
    left: usize,
    status: Option<&'static str>,
}

impl Body for Messages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left > 0 {
            self.left -= 1;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"message")))));
        }
        let trailers = self.status.take().map(|status| {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.parse().unwrap());
            Ok(Frame::trailers(trailers))
        });
        Poll::Ready(trailers)
    }
}

/// Makes a gRPC call that is answered by HTTP 200, ten messages and this status in the trailers.
fn stream(
    layer: &CircuitBreakerLayer,
    status: &'static str,
) -> impl Body<Data = Bytes, Error = impl Sized> {
    let service = layer
        .clone()
        .http()
        .layer(service_fn(move |_: Request<()>| async move {
            let messages = Messages {
                left: 10,
                status: Some(status),
            };
            let response = Response::builder().header("content-type", "application/grpc");
            Ok::<_, Infallible>(response.body(messages).unwrap())
        }));
    let request = Request::post("/stock.Stock/Watch").header("content-type", "application/grpc");
    let response = ended(service.oneshot(request.body(()).unwrap())).unwrap();
    assert_eq!(response.status(), 200);
    response.into_body()
}

/// Reads this number of frames.
fn read(body: &mut Pin<&mut impl Body>, frames: usize) {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..frames {
        let frame = body.as_mut().poll_frame(&mut cx);
        assert!(matches!(frame, Poll::Ready(Some(Ok(_)))));
    }
}

/// CB-12
#[test]
fn a_stream_that_ends_with_unavailable_is_a_failure() {
    let layer = consecutive();
    let breaker = layer.handle();
    for failures in 1..=2 {
        let mut body = pin!(stream(&layer, "14"));
        read(&mut body, 10);
        assert_eq!(breaker.snapshot().failures, failures - 1);
        read(&mut body, 1);
        if failures < 2 {
            assert_eq!(breaker.snapshot().failures, failures);
        }
    }
    assert_eq!(breaker.state(), State::Open);
}

/// CB-12
#[test]
fn a_stream_that_ends_with_ok_or_not_found_is_not_a_failure() {
    let layer = consecutive();
    let breaker = layer.handle();
    for status in ["5", "0", "5", "0"] {
        let mut body = pin!(stream(&layer, status));
        read(&mut body, 11);
        assert_eq!(breaker.snapshot().failures, 0, "{status}");
    }
    assert_eq!(breaker.state(), State::Closed);
}

/// A streaming call lasts until its end, so that a long stream is slow.
#[test]
fn a_stream_longer_than_the_threshold_is_slow() {
    let (clock, clock_control) = Clock::manual();
    let second = Duration::from_secs(1);
    let open_when = OpenWhen::slow_rate(1.0, second, 10, 1).unwrap();
    let layer = CircuitBreakerLayer::new().open_when(open_when).clock(clock);
    let mut body = pin!(stream(&layer, "0"));
    read(&mut body, 10);
    clock_control.advance(2 * second);
    assert_eq!(layer.handle().state(), State::Closed);
    read(&mut body, 1);
    assert_eq!(layer.handle().state(), State::Open);
}

/// The head of a gRPC stream has no outcome: a stream that is cancelled after its head is not a success.
#[test]
fn a_stream_cancelled_after_its_head_is_not_a_success() {
    let layer = consecutive();
    let breaker = layer.handle();
    for failures in 1..=2 {
        read(&mut pin!(stream(&layer, "14")), 11);
        if failures < 2 {
            drop(stream(&layer, "0"));
            read(&mut pin!(stream(&layer, "0")), 5);
            assert_eq!(breaker.snapshot().failures, failures, "still in a row");
        }
    }
    assert_eq!(breaker.state(), State::Open);

    let layer = CircuitBreakerLayer::new();
    drop(stream(&layer, "0"));
    assert_eq!(layer.handle().snapshot().results, 0);
}

/// Streams that hang open the breaker by their duration: when they are cancelled, or before.
#[test]
fn streams_that_hang_after_their_head_count_as_slow() {
    let second = Duration::from_secs(1);
    for while_in_flight in [false, true] {
        let (clock, clock_control) = Clock::manual();
        let slow = SlowCall::longer_than(second);
        let slow = if while_in_flight {
            slow.while_in_flight()
        } else {
            slow
        };
        let open_when = OpenWhen::slow_rate(1.0, slow, 10, 2).unwrap();
        let layer = CircuitBreakerLayer::new().open_when(open_when).clock(clock);
        let breaker = layer.handle();
        let streams = [stream(&layer, "0"), stream(&layer, "0")];
        clock_control.advance(2 * second);
        let hung = if while_in_flight {
            State::Open
        } else {
            State::Closed
        };
        let _ = breaker.snapshot();
        assert_eq!(breaker.state(), hung);
        drop(streams);
        assert_eq!(breaker.state(), State::Open);
    }
}

/// Nor does it close a half-open breaker; the next call is the next probe.
#[test]
fn a_probe_cancelled_after_its_head_does_not_close_the_breaker() {
    let (clock, clock_control) = Clock::manual();
    let layer = consecutive().clock(clock);
    let breaker = layer.handle();
    (0..2).for_each(|_| read(&mut pin!(stream(&layer, "14")), 11));
    clock_control.advance(Duration::from_secs(10));
    drop(stream(&layer, "0"));
    let snapshot = breaker.snapshot();
    assert_eq!(
        (snapshot.state, snapshot.probes_in_flight),
        (State::HalfOpen, 0)
    );
    read(&mut pin!(stream(&layer, "0")), 11);
    assert_eq!(breaker.state(), State::Closed);
}
