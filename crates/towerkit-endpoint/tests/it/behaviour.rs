//! Endpoints as a caller sees them.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tower::{ServiceBuilder, service_fn};
use towerkit_core::{
    BoxError, Call, CallEnd, Clock, Deadline, ErrorCode, LayerExt, Observer, Outcome, Policy,
    Rejection, RejectionReason, Status, guard, observe, stack,
};
use towerkit_endpoint::{
    EndpointExt, IntoRpcError, Request, RpcError, RpcExt, call_fn, endpoint, endpoint_fn,
    serve_call,
};
use towerkit_http::PeerAddress;
use towerkit_test::{Action, Probe, run_paused};
use towerkit_timeout::{DeadlineInjectLayer, DeadlineLayer, TimeoutLayer};

/// GK-EP-1
#[tokio::test]
async fn layers_run_outermost_first_and_unwind_in_reverse() {
    let trace = Arc::new(Mutex::new(Vec::new()));
    let request = |name: &'static str| {
        let trace = trace.clone();
        move |request: Request<u32>| {
            trace.lock().unwrap().push(name);
            request
        }
    };
    let response = |name: &'static str| {
        let trace = trace.clone();
        move |n: u32| {
            trace.lock().unwrap().push(name);
            n
        }
    };
    let endpoint = ServiceBuilder::new()
        .map_response(response("first post"))
        .map_request(request("first pre"))
        .map_response(response("second post"))
        .map_request(request("second pre"))
        .service(endpoint_fn(
            response("my endpoint"),
            |record, n| async move { Ok::<_, BoxError>(record(n)) },
        ));
    assert_eq!(endpoint.invoke(7).await.unwrap(), 7);
    let expected = [
        "first pre",
        "second pre",
        "my endpoint",
        "second post",
        "first post",
    ];
    assert_eq!(*trace.lock().unwrap(), expected);
}

/// GK-EP-3
#[tokio::test]
async fn an_error_reaches_the_caller_unchanged() {
    let error = Probe::new().invoke(Action::Fail).await.unwrap_err();
    assert!(error.is_failed());
}

/// T-01
#[test]
fn invoke_waits_for_readiness() {
    run_paused(async {
        let probe = Probe::ready_after(Duration::from_secs(60));
        let counts = probe.counts();
        assert!(probe.invoke(Action::Succeed).await.is_ok());
        assert_eq!((counts.violations(), counts.finished()), (0, 1));
        let error = Probe::never_ready()
            .invoke(Action::Succeed)
            .await
            .unwrap_err();
        assert!(error.is_unready());
    });
}

type Seen = (String, Option<String>, Option<SocketAddr>);

/// Records what an observer sees of each call.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<(Seen, CallEnd)>>>);

impl Policy for Recorder {
    type CallState = Seen;

    fn finish(&self, seen: Seen, end: &CallEnd) {
        self.0.lock().unwrap().push((seen, end.clone()));
    }
}

impl<Req> Observer<Req> for Recorder {
    fn start(&self, call: &mut Call<'_, Req>) -> Seen {
        let tenant = call.header("x-tenant").map(str::to_owned);
        (call.operation().to_owned(), tenant, call.peer())
    }
}

impl Recorder {
    fn last(&self) -> (Seen, CallEnd) {
        self.0.lock().unwrap().pop().expect("a call was recorded")
    }
}

#[tokio::test]
async fn a_layer_sees_the_operation_the_headers_and_the_peer() {
    let recorder = Recorder::default();
    let double = ServiceBuilder::new()
        .layer(observe(recorder.clone()).rpc())
        .service(endpoint_fn((), |(), n: u32| async move {
            Ok::<_, RpcError>(2 * n)
        }));
    let peer = SocketAddr::from(([192, 0, 2, 1], 4321));
    let mut request = Request::new("double", 4);
    request.headers.insert("x-tenant", "blue".parse().unwrap());
    request.extensions.insert(PeerAddress(peer));
    assert_eq!(double.invoke(request).await.unwrap(), 8);
    let (seen, end) = recorder.last();
    assert_eq!(seen, ("double".into(), Some("blue".into()), Some(peer)));
    assert_eq!(end.outcome(), Outcome::Success);
    assert_eq!(end.status(), Some(Status::Grpc(0)));
}

#[tokio::test]
async fn the_outcome_of_an_error_is_that_of_its_code() {
    let recorder = Recorder::default();
    let fail = ServiceBuilder::new()
        .layer(observe(recorder.clone()).rpc())
        .service(endpoint_fn((), |(), code: ErrorCode| async move {
            Err::<(), _>(RpcError::new(code, "told to fail"))
        }));
    for code in ErrorCode::ALL {
        let error = fail.invoke(code).await.unwrap_err();
        assert_eq!(error.code(), code);
        let (_, end) = recorder.last();
        assert_eq!(end.outcome(), code.outcome(), "{code}");
        assert_eq!(end.status(), Some(code.status()), "{code}");
        assert_eq!(end.rejection_reason(), None);
    }
}

struct RejectsAll(RejectionReason);

impl Policy for RejectsAll {
    type CallState = ();

    fn finish(&self, (): (), _end: &CallEnd) {}
}

impl<Req> towerkit_core::Guard<Req> for RejectsAll {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        Err(Rejection::new(self.0, "test"))
    }
}

#[tokio::test]
async fn a_rejection_is_seen_as_such_inside_of_one_stack_and_through_other_layers() {
    for reason in RejectionReason::ALL {
        let (fused, outer) = (Recorder::default(), Recorder::default());
        let rejected = ServiceBuilder::new()
            .layer(observe(outer.clone()).rpc())
            .layer(stack((observe(fused.clone()), guard(RejectsAll(reason)))).rpc())
            .service(endpoint_fn((), |(), ()| async { Ok::<_, BoxError>(()) }));
        let error = rejected.invoke(()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::from(reason));
        for recorder in [fused, outer] {
            let (_, end) = recorder.last();
            assert_eq!(end.rejection_reason(), Some(reason));
            assert_eq!(end.outcome(), reason.outcome());
            assert_eq!(end.status(), Some(ErrorCode::from(reason).status()));
        }
    }
}

/// The design's measure: with `.plain(..)` 180 of 200 such calls were rejected.
#[tokio::test]
async fn errors_that_blame_the_caller_do_not_open_a_circuit_breaker() {
    let breaker = towerkit_circuitbreaker::CircuitBreakerLayer::new();
    let sum = ServiceBuilder::new()
        .layer(breaker.rpc())
        .service(endpoint_fn((), |(), ()| async {
            Err::<(), _>(RpcError::new(
                ErrorCode::InvalidArgument,
                "can't sum two zeroes",
            ))
        }));
    for _ in 0..200 {
        let error = sum.invoke(()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_request_goes_through_business_code_to_the_next_service() {
    let remote = ServiceBuilder::new()
        .layer(DeadlineInjectLayer::new().rpc())
        .service(call_fn((), |(), request: Request<()>| async move {
            let left = request.headers.get("x-request-timeout-ms");
            Ok::<_, RpcError>(left.map(|left| left.to_str().unwrap().to_owned()))
        }));
    let remote = endpoint(remote);
    let local = ServiceBuilder::new()
        .layer(
            DeadlineLayer::new(Duration::from_secs(60))
                .unwrap()
                .clock(towerkit_test::tokio_clock())
                .rpc(),
        )
        .service(endpoint_fn(remote, |remote, ()| async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            remote.invoke(()).await
        }));
    let mut request = Request::new("local", ());
    let header = "700".parse().unwrap();
    request.headers.insert("x-request-timeout-ms", header);
    let left = local.invoke(request).await.unwrap();
    assert_eq!(left.as_deref(), Some("400"));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_at_the_deadline_in_the_extensions() {
    let nap = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(60)).unwrap().rpc())
        .service(service_fn(|_: Request<()>| async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok::<_, RpcError>(())
        }));
    let mut request = Request::new("nap", ());
    let deadline = Deadline::after(&Clock::monotonic(), Duration::from_secs(5));
    request.extensions.insert(deadline);
    let began = tokio::time::Instant::now();
    let error = nap.invoke(request).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
    assert!(began.elapsed() <= Duration::from_secs(6));
}

/// Retries over endpoints: by the code of the error, after the time that the upstream asks for.
#[tokio::test(start_paused = true)]
async fn a_retry_waits_for_the_time_in_the_error_of_the_upstream() {
    let attempts = Arc::new(AtomicU32::new(0));
    let flaky = ServiceBuilder::new()
        .layer(towerkit_retry::RetryLayer::new().idempotent().rpc())
        .service(endpoint_fn(attempts.clone(), |attempts, ()| async move {
            if attempts.fetch_add(1, Ordering::Relaxed) > 0 {
                return Ok(());
            }
            let wait = Duration::from_secs(3);
            Err(RpcError::new(ErrorCode::Unavailable, "restarting").with_retry_after(wait))
        }));
    let began = tokio::time::Instant::now();
    flaky.invoke(()).await.unwrap();
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
    assert!(began.elapsed() >= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_not_sent_is_retried_also_if_it_is_not_idempotent() {
    for (is_unsent, expected) in [(true, 3), (false, 1)] {
        let attempts = Arc::new(AtomicU32::new(0));
        let refused = ServiceBuilder::new()
            .layer(towerkit_retry::RetryLayer::new().rpc())
            .service(endpoint_fn(
                attempts.clone(),
                move |attempts, ()| async move {
                    attempts.fetch_add(1, Ordering::Relaxed);
                    let error = RpcError::new(ErrorCode::Unavailable, "connection refused");
                    Err::<(), _>(if is_unsent { error.unsent() } else { error })
                },
            ));
        assert!(refused.invoke(()).await.is_err());
        assert_eq!(attempts.load(Ordering::Relaxed), expected);
    }
}

#[tokio::test]
async fn a_panic_is_an_internal_error_for_a_transport_and_is_recorded() {
    let recorder = Recorder::default();
    let panics = ServiceBuilder::new()
        .layer(observe(recorder.clone()).rpc())
        .service(Probe::new());
    for act in [Action::PanicInCall, Action::PanicInFuture] {
        let error = serve_call(panics.clone(), Request::new("panics", act))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "internal: internal error");
        assert_eq!(recorder.last().1.outcome(), Outcome::Failure);
    }
    let served = serve_call(panics.clone(), Request::new("panics", Action::Succeed)).await;
    assert!(served.is_ok());
}

#[test]
fn the_protocol_is_chosen_for_a_stack_or_for_each_layer() {
    let _ = stack((observe(Recorder::default()),)).rpc();
    let _ = observe(Recorder::default()).protocol(towerkit_endpoint::Rpc::new());
}

/// The context of a message is moved with it at every layer.
#[test]
fn the_context_of_a_message_is_small() {
    assert!(size_of::<Request<()>>() <= 128);
    assert_eq!(size_of::<RpcError>(), size_of::<usize>());
    assert_eq!(size_of::<Result<u32, RpcError>>(), 16);
}
