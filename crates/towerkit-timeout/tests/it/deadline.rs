//! Deadlines: read, kept and sent.

use std::{convert::Infallible, sync::mpsc, time::Duration};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use towerkit_core::{
    BoxError, Clock, Deadline, LayerExt, OperationSet, Rejection, RejectionReason, stack,
};
use towerkit_http::HttpExt;
use towerkit_test::{Action, Probe, tokio_clock};
use towerkit_timeout::{DeadlineInjectLayer, DeadlineLayer, TimeoutLayer};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn deadlines() -> DeadlineLayer {
    DeadlineLayer::new(60 * SECOND).unwrap()
}

fn request(fields: &[(&str, &str)]) -> Request<()> {
    let with = |request: http::request::Builder, (name, value): &(&str, &str)| {
        request.header(*name, *value)
    };
    let request = fields.iter().fold(Request::post("/"), with);
    request.body(()).unwrap()
}

fn grpc(fields: &[(&str, &str)]) -> Request<()> {
    request(&[&[("content-type", "application/grpc")], fields].concat())
}

/// Returns a service that sends its requests to a channel.
fn recorder(
    seen: mpsc::Sender<Request<()>>,
) -> impl Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible> {
    service_fn(move |request| {
        let _ = seen.send(request);
        async { Ok(Response::default()) }
    })
}

fn reason(answer: &Extensions) -> RejectionReason {
    answer.get::<Rejection>().expect("rejected").reason()
}

/// Returns the request that reaches a service behind the layer, or the reason of the rejection.
macro_rules! seen_behind {
    ($layer:expr, $request:expr) => {{
        let (send, seen) = mpsc::channel();
        let Ok(response) = $layer.layer(recorder(send)).oneshot($request).await;
        seen.try_recv().map_err(|_| reason(response.extensions()))
    }};
}

fn left(request: &Request<()>) -> Duration {
    request.extensions().get::<Deadline>().unwrap().remaining()
}

/// TO-03, TO-04: the earliest of the two headers and the server's limit; malformed values are ignored.
#[tokio::test]
async fn a_request_gets_the_deadline_of_its_headers() {
    let table: [(&[(&str, &str)], Duration); 17] = [
        (&[], 60 * SECOND),
        (&[("grpc-timeout", "5S")], 5 * SECOND),
        (&[("x-request-timeout-ms", "250")], 250 * MILLI),
        (
            &[("grpc-timeout", "5S"), ("x-request-timeout-ms", "250")],
            250 * MILLI,
        ),
        (
            &[("grpc-timeout", "50m"), ("x-request-timeout-ms", "250")],
            50 * MILLI,
        ),
        (&[("grpc-timeout", "99999999H")], 60 * SECOND),
        (&[("grpc-timeout", "123456789S")], 60 * SECOND),
        (&[("grpc-timeout", "")], 60 * SECOND),
        (&[("grpc-timeout", "1")], 60 * SECOND),
        (&[("grpc-timeout", "-1S")], 60 * SECOND),
        (&[("grpc-timeout", "1.5S")], 60 * SECOND),
        (&[("grpc-timeout", "1s")], 60 * SECOND),
        (&[("grpc-timeout", "é")], 60 * SECOND),
        (
            &[("x-request-timeout-ms", "18446744073709551615")],
            60 * SECOND,
        ),
        (
            &[("x-request-timeout-ms", "18446744073709551616")],
            60 * SECOND,
        ),
        (&[("x-request-timeout-ms", "-1")], 60 * SECOND),
        (&[("x-request-timeout-ms", "soon")], 60 * SECOND),
    ];
    for (fields, expected) in table {
        let (clock, _clock_control) = Clock::manual();
        let seen = seen_behind!(deadlines().clock(clock).http(), request(fields)).unwrap();
        assert_eq!(left(&seen), expected, "{fields:?}");
    }
}

/// TO-03
#[tokio::test]
async fn an_existing_deadline_is_never_extended() {
    for (there, asked, expected) in [
        (2 * SECOND, "5S", 2 * SECOND),
        (5 * SECOND, "2S", 2 * SECOND),
        (90 * SECOND, "99999999H", 60 * SECOND),
    ] {
        let (clock, _clock_control) = Clock::manual();
        let mut request = request(&[("grpc-timeout", asked)]);
        request
            .extensions_mut()
            .insert(Deadline::after(&clock, there));
        let seen = seen_behind!(deadlines().http(), request).unwrap();
        assert_eq!(left(&seen), expected);
    }
}

/// TO-03
#[tokio::test]
async fn a_request_whose_time_is_up_never_reaches_the_service() {
    for field in [("grpc-timeout", "0n"), ("x-request-timeout-ms", "0")] {
        let seen = seen_behind!(deadlines().http(), request(&[field]));
        assert_eq!(seen.unwrap_err(), RejectionReason::DeadlineExceeded);
    }
    let (clock, clock_control) = Clock::manual();
    let over = || {
        let mut request = request(&[]);
        let deadline = Deadline::after(&clock, SECOND);
        request.extensions_mut().insert(deadline);
        clock_control.advance(SECOND);
        request
    };
    let timeout = || TimeoutLayer::new(SECOND).unwrap().http();
    let expected = RejectionReason::DeadlineExceeded;
    assert_eq!(
        seen_behind!(deadlines().http(), over()).unwrap_err(),
        expected
    );
    assert_eq!(seen_behind!(timeout(), over()).unwrap_err(), expected);
    let inject = DeadlineInjectLayer::new().http();
    assert_eq!(seen_behind!(inject, over()).unwrap_err(), expected);
}

/// TO-03
#[tokio::test]
async fn over_grpc_a_request_whose_time_is_up_is_answered_in_trailers() {
    let service = deadlines().http().layer(recorder(mpsc::channel().0));
    let Ok(response) = service.oneshot(grpc(&[("grpc-timeout", "0m")])).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "4");
}

/// TO-03: from the caller's header to the upstream's.
#[tokio::test(start_paused = true)]
async fn an_upstream_gets_the_time_left_of_its_callers_deadline() {
    for (made, name) in [
        (request as fn(&[(&str, &str)]) -> _, "x-request-timeout-ms"),
        (grpc, "grpc-timeout"),
    ] {
        let (send, seen) = mpsc::channel();
        let client = DeadlineInjectLayer::new().http().layer(recorder(send));
        let client = std::sync::Arc::new(tokio::sync::Mutex::new(client));
        let server = ServiceBuilder::new()
            .layer(deadlines().clock(tokio_clock()).http())
            .service_fn(move |_incoming: Request<()>| {
                let client = client.clone();
                async move {
                    tokio::time::sleep(300 * MILLI).await;
                    let mut client = client.lock().await;
                    let Ok(response) = client.ready().await?.call(made(&[])).await;
                    Ok::<_, Infallible>(response)
                }
            });
        let asked = request(&[("grpc-timeout", "1S")]);
        let Ok(_) = server.oneshot(asked).await;
        let seen = seen.try_recv().unwrap();
        let expected = if name == "grpc-timeout" {
            "700000u"
        } else {
            "700"
        };
        assert_eq!(seen.headers()[name], expected);
        assert_eq!(
            seen.headers()
                .keys()
                .filter(|key| key.as_str().contains("timeout"))
                .count(),
            1
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_a_plain_service_ends_at_the_deadline_of_the_caller() {
    let nap = ServiceBuilder::new()
        .layer(TimeoutLayer::new(60 * SECOND).unwrap().plain("nap"))
        .service_fn(|naps: u32| async move {
            sleep(naps * SECOND).await;
            Ok::<_, BoxError>(())
        });
    let server = ServiceBuilder::new()
        .layer(deadlines().clock(tokio_clock()).http())
        .service_fn(move |_: Request<()>| {
            let nap = nap.clone();
            async move {
                let began = Instant::now();
                let error = nap.oneshot(30).await.unwrap_err();
                let rejection = error.downcast_ref::<Rejection>().unwrap();
                assert_eq!(rejection.reason(), RejectionReason::DeadlineExceeded);
                assert_eq!(began.elapsed(), 2 * SECOND);
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
            }
        });
    let asked = request(&[("x-request-timeout-ms", "2000")]);
    let Ok(response) = server.oneshot(asked).await;
    assert_eq!(response.status(), 200);
    assert_eq!(Deadline::current(), None);
}

#[tokio::test]
async fn a_smaller_value_in_the_header_stays() {
    let (clock, _clock_control) = Clock::manual();
    for (written, expected) in [("50m", "50000000n"), ("5S", "1000000u"), ("x", "1000000u")] {
        let mut request = grpc(&[("grpc-timeout", written)]);
        request
            .extensions_mut()
            .insert(Deadline::after(&clock, SECOND));
        let seen = seen_behind!(DeadlineInjectLayer::new().grpc(), request).unwrap();
        assert_eq!(seen.headers()["grpc-timeout"], expected);
    }
}

#[tokio::test]
async fn a_request_without_a_deadline_is_sent_unchanged() {
    let seen = seen_behind!(DeadlineInjectLayer::new().http(), request(&[])).unwrap();
    assert!(seen.headers().is_empty());
    let grpc = grpc(&[("grpc-timeout", "5S")]);
    let seen = seen_behind!(DeadlineInjectLayer::new().http(), grpc).unwrap();
    assert_eq!(seen.headers()["grpc-timeout"], "5S");
}

/// TO-03: a time below a millisecond is not rounded up.
#[tokio::test]
async fn a_remaining_time_below_a_millisecond_is_rejected() {
    let (clock, _clock_control) = Clock::manual();
    for (left, expected) in [(MILLI, Ok("1")), (MILLI - Duration::from_nanos(1), Err(()))] {
        let mut request = request(&[]);
        request
            .extensions_mut()
            .insert(Deadline::after(&clock, left));
        let seen = seen_behind!(DeadlineInjectLayer::new().http(), request);
        let written = seen.map(|seen| seen.headers()["x-request-timeout-ms"].clone());
        assert_eq!(
            written.map_err(drop),
            expected.map(http::HeaderValue::from_static)
        );
    }
}

#[tokio::test]
async fn milliseconds_may_use_another_header() {
    let (clock, _clock_control) = Clock::manual();
    let layer = deadlines().clock(clock).header("x-timeout").unwrap().http();
    let asked = request(&[("x-timeout", "70"), ("x-request-timeout-ms", "50")]);
    let seen = seen_behind!(layer, asked).unwrap();
    assert_eq!(left(&seen), 70 * MILLI);
    let layer = DeadlineInjectLayer::new().header("x-left").unwrap().http();
    let mut outgoing = request(&[]);
    *outgoing.extensions_mut() = seen.extensions().clone();
    let seen = seen_behind!(layer, outgoing).unwrap();
    assert_eq!(seen.headers()["x-left"], "70");
}

/// T-07
#[test]
fn an_invalid_header_name_is_rejected() {
    for name in ["", "a b", "a\r\nb", "X-Timeout", "é", ":path"] {
        let error = deadlines().header(name).unwrap_err();
        let expected = format!("invalid header {name:?}: expected a header name in lower case");
        assert_eq!(error.to_string(), expected);
        assert!(DeadlineInjectLayer::new().header(name).is_err());
    }
    assert!(DeadlineInjectLayer::new().header("x-a.b_c!9").is_ok());
}

#[tokio::test]
async fn a_handle_changes_the_servers_limit() {
    let (clock, _clock_control) = Clock::manual();
    let layer = deadlines().clock(clock);
    let handle = layer.handle();
    handle.set_timeout(2 * SECOND).unwrap();
    assert!(handle.set_timeout(Duration::MAX).is_err());
    let seen = seen_behind!(layer.http(), request(&[("grpc-timeout", "5S")])).unwrap();
    assert_eq!(left(&seen), 2 * SECOND);
}

#[tokio::test]
async fn a_handle_follows_later_setters() {
    let (clock, _clock_control) = Clock::manual();
    let layer = deadlines();
    let handle = layer.handle();
    let layer = layer.clock(clock).name("edge").header("x-left").unwrap();
    handle.set_timeout(2 * SECOND).unwrap();
    let seen = seen_behind!(layer.http(), request(&[("x-left", "5000")])).unwrap();
    assert_eq!(left(&seen), 2 * SECOND);
}

/// TO-03: the inner timeout enforces the deadline, with the time left when it is called.
#[tokio::test(start_paused = true)]
async fn a_timeout_drops_the_call_at_the_deadline() {
    let probe = Probe::new();
    let counts = probe.counts();
    let policies = stack((deadlines().clock(tokio_clock()), DeadlineInjectLayer::new()));
    let service = ServiceBuilder::new()
        .layer(policies.http())
        .layer(TimeoutLayer::new(10 * SECOND).unwrap().http())
        .service(probe);
    for (asked, expected) in [("300m", 300 * MILLI), ("20S", 10 * SECOND)] {
        let start = Instant::now();
        let mut request = Request::new(Action::Sleep(60 * SECOND));
        request
            .headers_mut()
            .insert("grpc-timeout", asked.parse().unwrap());
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 504);
        let elapsed = start.elapsed();
        assert!(
            elapsed >= expected && elapsed <= expected + MILLI,
            "{elapsed:?}"
        );
    }
    assert_eq!((counts.dropped(), counts.in_flight()), (2, 0));
}

/// Work between the call and its first pending poll counts.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_polled_late_still_ends_at_its_deadline() {
    let mut service = TimeoutLayer::new(10 * SECOND)
        .unwrap()
        .http()
        .layer(Probe::new());
    let mut request = Request::new(Action::Sleep(60 * SECOND));
    request
        .extensions_mut()
        .insert(Deadline::after(&tokio_clock(), SECOND));
    let start = Instant::now();
    ServiceExt::<Request<Action>>::ready(&mut service)
        .await
        .unwrap();
    let call = service.call(request);
    tokio::time::sleep(600 * MILLI).await;
    assert_eq!(call.await.unwrap().status(), 504);
    assert!(start.elapsed() <= SECOND + MILLI, "{:?}", start.elapsed());
}

/// A4.7
#[tokio::test]
async fn other_operations_have_no_deadline() {
    let only = OperationSet::prefix("orders.");
    let layer = deadlines().only(only).http();
    let mut request = grpc(&[("grpc-timeout", "0n")]);
    *request.uri_mut() = "/carts.Carts/Get".parse().unwrap();
    let seen = seen_behind!(layer.clone(), request.clone()).unwrap();
    assert!(seen.extensions().get::<Deadline>().is_none());
    *request.uri_mut() = "/orders.Orders/Get".parse().unwrap();
    assert!(seen_behind!(layer, request).is_err());
}

/// A transport that knows the deadline may end the call slightly before the timer.
#[tokio::test(start_paused = true)]
async fn a_failure_at_the_deadline_is_a_timeout_and_an_earlier_one_is_not() {
    for (after, is_timed_out) in [(500, false), (998, false), (999, true), (1000, true)] {
        let reset = service_fn(move |_: Request<()>| async move {
            sleep(Duration::from_millis(after)).await;
            Err::<Response<Full<Bytes>>, _>(BoxError::from("reset"))
        });
        let layer = TimeoutLayer::new(10 * SECOND).unwrap().http();
        let mut request = Request::new(());
        let deadline = Deadline::after(&tokio_clock(), SECOND);
        request.extensions_mut().insert(deadline);
        let answer = layer.layer(reset).oneshot(request).await;
        assert_eq!(
            answer.is_ok_and(|answer| answer.status() == 504),
            is_timed_out,
            "{after}"
        );
    }
}
