//! Clients as endpoints, over a channel to a tonic server.

use std::{
    convert::Infallible,
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tonic::transport::Endpoint as TonicEndpoint;
use tower::{Service, ServiceBuilder, service_fn};
use towerkit_circuitbreaker::CircuitBreakerLayer;
use towerkit_core::{CarriesRejection, Clock, Deadline, ErrorCode, Rejection, RejectionReason};
use towerkit_endpoint::{
    Endpoint, EndpointExt, IntoRpcError, Request, RpcError, RpcExt, call_fn, endpoint, endpoint_fn,
};
use towerkit_hedge::HedgeLayer;
use towerkit_http::HttpExt;
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_retry::RetryLayer;
use towerkit_timeout::DeadlineLayer;
use towerkit_transport_grpc::{Client, client, unary};

use crate::math::{Number, Pair, Server, adder, number, pair};

const SUM: &str = "/test.Math/Sum";

type Sum = Endpoint<Pair, i64, RpcError>;

fn sum<C>(channel: C) -> Client<C, Pair, Number, Pair, i64> {
    client(channel, SUM).unwrap()
}

/// A server whose endpoint fails a number of times with this error, and the count of its calls.
async fn flaky(failures: u32, error: RpcError) -> (Server, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let state = (calls.clone(), error);
    let flaky = endpoint_fn(state, move |(calls, error), pair: Pair| async move {
        match calls.fetch_add(1, Ordering::SeqCst) < failures {
            true => Err(error),
            false => Ok(number(pair.a + pair.b)),
        }
    });
    (Server::math(flaky).await, calls)
}

#[tokio::test]
async fn a_client_is_an_endpoint() {
    let server = Server::math(adder()).await;
    let sum: Sum = endpoint(sum(server.channel().await));
    assert_eq!(sum.invoke(pair(1, 2)).await.unwrap(), 3);
}

#[test]
fn a_path_that_is_no_method_is_an_error() {
    for path in [
        "",
        "/",
        "Sum",
        "/Sum",
        "//Sum",
        "/a/",
        "/a/b/c",
        "/a/b?c",
        "/a/b#c",
        "/a/\u{7f}",
    ] {
        assert!(
            client::<Pair, Number, Pair, i64, _>((), path).is_err(),
            "{path}"
        );
    }
    assert!(client::<Pair, Number, Pair, i64, _>((), SUM).is_ok());
}

/// A3.5, GK-GR-1: in go-kit a client replaces the metadata of its caller.
#[tokio::test]
async fn headers_are_sent_as_metadata_and_those_of_the_transport_are_not() {
    let server = Server::math(call_fn((), |(), request: Request<Pair>| async move {
        let headers = request.headers;
        assert_eq!(headers["x-tenant"], "blue");
        assert_eq!(headers.get_all("x-many").iter().count(), 2);
        assert_eq!(headers["content-type"], "application/grpc");
        for absent in [
            "grpc-encoding",
            "grpc-status",
            "connection",
            "content-length",
        ] {
            assert!(!headers.contains_key(absent), "{absent}");
        }
        Ok::<_, RpcError>(number(7))
    }))
    .await;
    let mut request = Request::new("sum", pair(1, 2));
    for (name, value) in [
        ("x-tenant", "blue"),
        ("x-many", "1"),
        ("x-many", "2"),
        ("grpc-encoding", "gzip"),
        ("grpc-status", "0"),
        ("connection", "close"),
        ("content-length", "12345"),
    ] {
        request.headers.append(name, value.parse().unwrap());
    }
    let sum = sum(server.channel().await);
    assert_eq!(sum.invoke(request).await.unwrap(), 7);
}

/// GK-GR-2
#[tokio::test]
async fn an_error_of_the_server_keeps_its_code_its_message_and_its_time() {
    for code in ErrorCode::ALL {
        let error = RpcError::new(code, "told to\r\nfail: 100 % 🦀")
            .with_retry_after(Duration::from_millis(1500));
        let (server, _) = flaky(1, error).await;
        let error = sum(server.channel().await)
            .invoke(pair(1, 2))
            .await
            .unwrap_err();
        assert_eq!(error.code(), code);
        assert_eq!(error.message(), "told to\r\nfail: 100 % 🦀");
        assert_eq!(error.retry_after(), Some(Duration::from_millis(1500)));
        assert!(!error.is_unsent());
    }
}

#[tokio::test]
async fn the_deadline_of_the_request_or_of_the_current_call_is_sent() {
    let server = Server::math(call_fn((), |(), request: Request<Pair>| async move {
        let deadline: Option<&Deadline> = request.extensions.get();
        let minutes = deadline.map(|deadline| deadline.remaining().as_secs_f64() / 60.0);
        Ok::<_, RpcError>(number(minutes.map_or(0, |minutes| minutes.ceil() as i64)))
    }))
    .await;
    let sum = sum(server.channel().await);
    assert_eq!(sum.invoke(pair(1, 2)).await.unwrap(), 0);

    let hour = || Deadline::after(&Clock::default(), Duration::from_secs(3600));
    let mut request = Request::new("sum", pair(1, 2));
    request.extensions.insert(hour());
    assert_eq!(sum.invoke(request.clone()).await.unwrap(), 60);
    // A header of a layer, such as one that gives each attempt its own time.
    request
        .headers
        .insert("grpc-timeout", "60S".parse().unwrap());
    assert_eq!(sum.invoke(request).await.unwrap(), 1);

    let local = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(60)).unwrap().rpc())
        .service(endpoint_fn(sum, |sum, ()| async move {
            tokio::task::yield_now().await;
            sum.invoke(pair(1, 2)).await
        }));
    assert_eq!(local.invoke(()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_request_after_its_deadline_is_rejected_and_not_sent() {
    let (server, calls) = flaky(0, RpcError::internal()).await;
    let (clock, control) = Clock::manual();
    let mut request = Request::new("sum", pair(1, 2));
    let deadline = Deadline::after(&clock, Duration::from_secs(1));
    request.extensions.insert(deadline);
    control.advance(Duration::from_secs(1));
    let error = sum(server.channel().await)
        .invoke(request)
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
    let reason = error.rejection().unwrap().reason();
    assert_eq!(reason, RejectionReason::DeadlineExceeded);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

/// tonic's channel and tonic's server say `CANCELLED`, by which a circuit breaker does not count the call.
#[tokio::test]
async fn a_call_that_ends_at_its_deadline_has_that_code() {
    let nap = endpoint_fn((), |(), _: Pair| {
        std::future::pending::<Result<Number, RpcError>>()
    });
    let server = Server::math(nap).await;
    let sum = sum(server.channel().await);
    for _ in 0..20 {
        let mut request = Request::new("sum", pair(1, 2));
        let soon = Deadline::after(&Clock::default(), Duration::from_millis(20));
        request.extensions.insert(soon);
        let error = sum.invoke(request).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::DeadlineExceeded, "{error:?}");
    }
}

/// The server counts from the arrival of the call; the channel here has no timer of its own.
#[tokio::test]
async fn a_call_that_the_server_cancels_after_its_deadline_has_that_code() {
    for (time, code) in [
        (Duration::from_secs(2), ErrorCode::DeadlineExceeded),
        (Duration::from_millis(1), ErrorCode::Cancelled),
    ] {
        let (clock, control) = Clock::manual();
        let deadline = Deadline::after(&clock, Duration::from_secs(1));
        let channel = service_fn(move |_: http::Request<tonic::body::Body>| {
            control.advance(time);
            let cancelled = tonic::Status::cancelled("Timeout expired");
            ready(Ok::<_, Infallible>(
                cancelled.into_http::<tonic::body::Body>(),
            ))
        });
        let mut request = Request::new("sum", pair(1, 2));
        request.extensions.insert(deadline);
        let error = sum(channel).invoke(request).await.unwrap_err();
        assert_eq!(error.code(), code);
    }
}

/// A3.6
#[tokio::test]
async fn dropping_the_future_cancels_the_call_at_the_server() {
    let (gone, mut seen) = tokio::sync::mpsc::unbounded_channel();
    struct SendOnDrop(tokio::sync::mpsc::UnboundedSender<&'static str>);
    impl Drop for SendOnDrop {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    let nap = endpoint_fn(gone, |gone, _: Pair| async move {
        let _ = gone.send("begun");
        let _guard = SendOnDrop(gone);
        std::future::pending::<Result<Number, RpcError>>().await
    });
    let server = Server::math(nap).await;
    let sum = sum(server.channel().await);
    let call = tokio::spawn(sum.invoke(pair(1, 2)));
    assert_eq!(seen.recv().await, Some("begun"));
    call.abort();
    assert_eq!(seen.recv().await, Some("dropped"));
}

#[tokio::test]
async fn a_refused_connection_is_unavailable_and_unsent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let channel = TonicEndpoint::from_shared(url).unwrap().connect_lazy();
    let error = sum(channel).invoke(pair(1, 2)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(error.message(), "the upstream is unavailable");
    assert!(error.is_unsent(), "{error:?}");
}

#[tokio::test]
async fn a_retry_waits_for_the_pushback_and_sends_the_call_again() {
    let wait = Duration::from_millis(50);
    let error = RpcError::new(ErrorCode::Unavailable, "not yet").with_retry_after(wait);
    let (server, calls) = flaky(2, error).await;
    let sum = ServiceBuilder::new()
        .layer(RetryLayer::new().idempotent().rpc())
        .service(sum(server.channel().await));
    let began = std::time::Instant::now();
    assert_eq!(sum.invoke(pair(1, 2)).await.unwrap(), 3);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert!(began.elapsed() >= 2 * wait);
}

#[tokio::test]
async fn a_negative_pushback_stops_a_retry() {
    let error = RpcError::new(ErrorCode::Unavailable, "").with_retry_after(Duration::MAX);
    let (server, calls) = flaky(9, error).await;
    let sum = ServiceBuilder::new()
        .layer(RetryLayer::new().idempotent().rpc())
        .service(sum(server.channel().await));
    sum.invoke(pair(1, 2)).await.unwrap_err();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_circuit_breaker_opens_by_failures_and_not_by_errors_of_the_caller() {
    for (code, opens) in [
        (ErrorCode::Unavailable, true),
        (ErrorCode::InvalidArgument, false),
    ] {
        let (server, _) = flaky(u32::MAX, RpcError::new(code, "told to fail")).await;
        let sum = ServiceBuilder::new()
            .layer(CircuitBreakerLayer::new().rpc())
            .service(sum(server.channel().await));
        let mut rejected = false;
        for _ in 0..200 {
            let error = sum.invoke(pair(1, 2)).await.unwrap_err();
            let reason = error.rejection().map(Rejection::reason);
            rejected |= reason == Some(RejectionReason::CircuitOpen);
        }
        assert_eq!(rejected, opens, "{code}");
    }
}

#[tokio::test]
async fn a_hedge_answers_for_a_slow_attempt() {
    let calls = Arc::new(AtomicU32::new(0));
    let slow_first = endpoint_fn(calls.clone(), |calls, pair: Pair| async move {
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            std::future::pending::<()>().await;
        }
        Ok::<_, RpcError>(number(pair.a + pair.b))
    });
    let server = Server::math(slow_first).await;
    let hedge = HedgeLayer::after(Duration::from_millis(20)).unwrap();
    let sum = ServiceBuilder::new()
        .layer(hedge.idempotent().rpc())
        .service(sum(server.channel().await));
    assert_eq!(sum.invoke(pair(1, 2)).await.unwrap(), 3);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

/// A rejection of the client's own layers stays one; that of the server is an error.
#[tokio::test]
async fn a_rejection_by_a_layer_around_the_channel_is_found() {
    let hour = Duration::from_secs(3600);
    let limit = || RateLimitLayer::new(Quota::new(1, hour).unwrap());
    let local = Server::math(adder()).await;
    let channel = ServiceBuilder::new()
        .layer(limit().grpc())
        .service(local.channel().await);
    let local = sum(channel);
    let limited = ServiceBuilder::new().layer(limit().rpc()).service(adder());
    let remote_server = Server::math(limited).await;
    let remote = sum(remote_server.channel().await);
    for (sum, own) in [(endpoint(local), true), (endpoint(remote), false)] {
        let sum: Sum = sum;
        sum.invoke(pair(1, 2)).await.unwrap();
        let error = sum.invoke(pair(1, 2)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ResourceExhausted);
        assert_eq!(error.rejection().is_some(), own);
        let wait = error.retry_after().unwrap();
        assert!(wait <= hour + Duration::from_millis(1), "{wait:?}");
    }
}

#[tokio::test]
async fn an_endpoint_is_called_without_a_socket_too() {
    let service = unary::<Pair, Number, Pair, _>("sum", adder());
    assert_eq!(sum(service).invoke(pair(1, 2)).await.unwrap(), 3);
}

/// GR-04
#[tokio::test]
async fn messages_over_the_limit_of_the_client_are_errors() {
    let server = Server::math(endpoint_fn((), |(), pair: Pair| async move {
        Ok::<_, RpcError>(Number {
            value: 3,
            padding: pair.padding,
        })
    }))
    .await;
    let padded = |size| Pair {
        padding: vec![0; size],
        ..pair(1, 2)
    };
    let channel = server.channel().await;
    let small = sum(channel.clone()).max_encoding_message_size(1000);
    assert_eq!(small.invoke(padded(900)).await.unwrap(), 3);
    let error = small.invoke(padded(1000)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceExhausted);
    let small = sum(channel.clone()).max_decoding_message_size(1000);
    assert_eq!(small.invoke(padded(900)).await.unwrap(), 3);
    let error = small.invoke(padded(1000)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceExhausted);
    let large = sum(channel);
    assert_eq!(large.invoke(padded((4 << 20) - 100)).await.unwrap(), 3);
    let error = large.invoke(padded(4 << 20)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceExhausted, "of the server");
}

/// Retried and hedged calls need a request that can be cloned, and a service that can be called from many tasks.
#[test]
fn a_client_is_clone_send_and_sync() {
    fn check<S: Service<Request<Pair>, Future: Send> + Clone + Send + Sync + 'static>(_: S) {}
    let channel = || TonicEndpoint::from_static("http://127.0.0.1:1");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _guard = runtime.enter();
    check(sum(channel().connect_lazy()));
}
