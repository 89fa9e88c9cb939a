//! The calls that are retried, and their results.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use towerkit_core::{
    AttemptedInstances, BoxError, Call, CallEnd, Event, Guard, LayerExt, OperationSet, Outcome,
    Plain, Policy, Rejection, RejectionReason, Status, guard,
};
use towerkit_http::{Http, HttpExt};
use towerkit_retry::{Budget, GiveUpReason, RETRY_ATTEMPT, RetryLayer};
use towerkit_test::{Action, Probe};

use super::setup::{Script, answer, call, get, grpc, report, request};

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_hidden_from_the_caller() {
    let script = Script::of(&[503, 502]);
    let service = RetryLayer::new().http().layer(script.clone());
    let response = call(&service, get()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(script.calls(), 3);
    let report = report(&response);
    let failed: Vec<_> = report
        .failed_attempts()
        .iter()
        .map(|a| (a.outcome, a.status))
        .collect();
    let expected = [
        (Outcome::Overloaded, Some(Status::Http(503))),
        (Outcome::Failure, Some(Status::Http(502))),
    ];
    assert_eq!(failed, expected);
    assert_eq!(report.give_up_reason(), None);
}

#[tokio::test(start_paused = true)]
async fn each_retry_carries_its_number() {
    let script = Script::of(&[503, 503, 503]);
    let service = RetryLayer::new().http().layer(script.clone());
    let response = call(&service, get()).await;
    let expected = [None, Some("1".into()), Some("2".into())];
    assert_eq!(script.headers(RETRY_ATTEMPT), expected);
    assert_eq!(response.status(), 503);
    assert_eq!(
        report(&response).give_up_reason(),
        Some(GiveUpReason::Attempts)
    );
    assert!(!response.headers().contains_key(RETRY_ATTEMPT));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_succeeds_at_once_has_no_report() {
    let script = Script::of(&[200]);
    let service = RetryLayer::new().http().layer(script.clone());
    assert!(call(&service, get()).await.extensions().is_empty());
    assert_eq!(script.calls(), 1);
}

/// The table in the crate docs.
#[tokio::test(start_paused = true)]
async fn transient_statuses_are_retried() {
    for status in 200..600 {
        let script = Script::of(&[status]);
        let service = RetryLayer::new().http().layer(script.clone());
        call(&service, get()).await;
        let is_retried = matches!(status, 429 | 500 | 502 | 503 | 504);
        assert_eq!(script.calls() == 2, is_retried, "{status}");
    }
}

/// RT-05
#[tokio::test(start_paused = true)]
async fn only_idempotent_methods_are_retried() {
    let table = [
        (Method::GET, true),
        (Method::HEAD, true),
        (Method::OPTIONS, true),
        (Method::TRACE, true),
        (Method::PUT, true),
        (Method::DELETE, true),
        (Method::POST, false),
        (Method::PATCH, false),
        (Method::CONNECT, false),
        (Method::from_bytes(b"BREW").unwrap(), false),
    ];
    for (method, is_retried) in table {
        let script = Script::of(&[503]);
        let service = RetryLayer::new().http().layer(script.clone());
        call(&service, request(method.clone())).await;
        assert_eq!(script.calls() == 2, is_retried, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn idempotent_if_decides_which_requests_are_idempotent() {
    let has_key =
        |request: &Request<Full<Bytes>>| request.headers().contains_key("idempotency-key");
    let script = Script::of(&[503, 503, 503]);
    let service = RetryLayer::new()
        .http()
        .idempotent_if(has_key)
        .layer(script.clone());
    call(&service, request(Method::POST)).await;
    assert_eq!(script.calls(), 1);
    let mut with_key = request(Method::POST);
    with_key
        .headers_mut()
        .insert("idempotency-key", "7".parse().unwrap());
    call(&service, with_key).await;
    assert_eq!(script.calls(), 4);

    let script = Script::of(&[503]);
    let service = RetryLayer::new().http().idempotent().layer(script.clone());
    call(&service, request(Method::POST)).await;
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn grpc_calls_are_retried_only_if_marked_idempotent() {
    for (code, is_retried) in [
        ("14", true),
        ("8", true),
        ("4", true),
        ("13", false),
        ("2", false),
        ("0", false),
    ] {
        let script = || {
            let headers = [("content-type", "application/grpc"), ("grpc-status", code)];
            Script::new([answer(200, &headers)])
        };
        let (by_default, said, over_http) = (script(), script(), script());
        call(&RetryLayer::new().grpc().layer(by_default.clone()), grpc()).await;
        assert_eq!(by_default.calls(), 1, "{code}");
        call(
            &RetryLayer::new().grpc().idempotent().layer(said.clone()),
            grpc(),
        )
        .await;
        assert_eq!(said.calls() == 2, is_retried, "{code}");
        call(
            &RetryLayer::new()
                .http()
                .idempotent()
                .layer(over_http.clone()),
            grpc(),
        )
        .await;
        assert_eq!(over_http.calls() == 2, is_retried, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn plain_calls_are_retried_only_if_marked_idempotent() {
    let probe = Probe::new();
    let counts = probe.counts();
    let service = RetryLayer::new().plain("probe").layer(probe);
    let error = service.oneshot(Action::Fail).await;
    assert!(error.unwrap_err().is_failed());
    assert_eq!(counts.started(), 1);

    let probe = Probe::new();
    let counts = probe.counts();
    let service = RetryLayer::new().plain("probe").idempotent().layer(probe);
    assert!(service.clone().oneshot(Action::FailFirst(2)).await.is_ok());
    assert_eq!(counts.started(), 3);
    let error = service.oneshot(Action::Fail).await.unwrap_err();
    assert!(error.is_failed());
    assert_eq!((counts.started(), counts.in_flight()), (6, 0));
}

/// GK-LB-4
#[tokio::test(start_paused = true)]
async fn attempts_are_limited() {
    for (attempts, is_served) in [(1, false), (2, false), (3, true), (255, true)] {
        let layer = RetryLayer::new()
            .plain("probe")
            .attempts(attempts)
            .unwrap()
            .idempotent();
        let result = layer
            .layer(Probe::new())
            .oneshot(Action::FailFirst(2))
            .await;
        assert_eq!(result.is_ok(), is_served, "{attempts}");
    }
    let endless = RetryLayer::new()
        .plain("probe")
        .attempts(255)
        .unwrap()
        .idempotent();
    let budget = Budget::new(0.0, 1000).unwrap();
    let probe = Probe::new();
    let counts = probe.counts();
    let service = endless.budget(budget).layer(probe);
    assert!(service.oneshot(Action::Fail).await.is_err());
    assert_eq!(counts.started(), 255);
}

#[tokio::test(start_paused = true)]
async fn when_decides_which_results_are_retryable() {
    let script = Script::of(&[404, 503]);
    let layer = RetryLayer::new().http();
    let service = layer
        .when(|end| end.status() == Some(Status::Http(404)))
        .layer(script.clone());
    assert_eq!(call(&service, get()).await.status(), 503);
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn operations_that_are_not_selected_are_not_retried() {
    let layer = RetryLayer::new().idempotent();
    let handle = layer.handle();
    let operations = OperationSet::exact;
    for (name, calls) in [("other", 1), ("probe", 2)] {
        let probe = Probe::new();
        let counts = probe.counts();
        let service = layer
            .clone()
            .plain("probe")
            .only(operations(name))
            .layer(probe);
        _ = service.oneshot(Action::FailFirst(1)).await;
        assert_eq!(counts.started(), calls, "{name}");
        assert_eq!(handle.snapshot().budget.calls, calls - 1, "{name}");
    }
    let protocol = Http::new().operation(|head| head.uri.path());
    let layer = RetryLayer::new()
        .protocol(protocol)
        .only(operations("/other"));
    let script = Script::of(&[503]);
    assert_eq!(
        call(&layer.layer(script.clone()), get()).await.status(),
        503
    );
}

struct Rejects(RejectionReason);

impl Policy for Rejects {
    type CallState = ();
    const NEEDS_END: bool = false;
    fn finish(&self, (): (), _end: &CallEnd) {}
}

impl<Req> Guard<Req> for Rejects {
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        match call.header(RETRY_ATTEMPT) {
            None => Err(Rejection::new(self.0, "guard")),
            Some(_) => Ok(()),
        }
    }
}

/// RT-14
#[tokio::test(start_paused = true)]
async fn rejections_by_inner_layers_are_not_retried_and_cost_no_budget() {
    for reason in RejectionReason::ALL {
        let layer = RetryLayer::new().http();
        let handle = layer.handle();
        let script = Script::of(&[]);
        let service = ServiceBuilder::new()
            .layer(layer)
            .layer(guard(Rejects(reason)).http())
            .service(script.clone());
        let response = call(&service, get()).await;
        let is_retried = reason == RejectionReason::DeadlineExceeded;
        assert_eq!(response.status() == 200, is_retried, "{reason}");
        assert_eq!(handle.snapshot().budget.withdrawn, u64::from(is_retried));
    }
}

/// RT-14: the same in the error of a plain service.
#[tokio::test(start_paused = true)]
async fn rejections_in_an_error_are_retried_only_if_when_says_so() {
    let rejected = Arc::new(AtomicUsize::new(0));
    let inner = {
        let rejected = rejected.clone();
        service_fn(move |(): ()| {
            rejected.fetch_add(1, Ordering::SeqCst);
            let rejection = Rejection::new(RejectionReason::CircuitOpen, "breaker");
            async { Err::<(), BoxError>(rejection.into()) }
        })
    };
    let layer = RetryLayer::new().plain("rejected").idempotent();
    assert!(
        layer
            .clone()
            .layer(inner.clone())
            .oneshot(())
            .await
            .is_err()
    );
    assert_eq!(rejected.swap(0, Ordering::SeqCst), 1);
    let layer = layer.when(|end| end.rejection_reason() == Some(RejectionReason::CircuitOpen));
    assert!(layer.layer(inner).oneshot(()).await.is_err());
    assert_eq!(rejected.load(Ordering::SeqCst), 3);
}

/// A service that fails its readiness after the first call.
#[derive(Clone)]
struct OneCallOnly(Arc<AtomicUsize>);

impl Service<()> for OneCallOnly {
    type Response = ();
    type Error = &'static str;
    type Future = std::future::Ready<Result<(), &'static str>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(match self.0.load(Ordering::SeqCst) {
            0 => Ok(()),
            _ => Err("finished for good"),
        })
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Err("failed"))
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_ends_the_call() {
    let inner = OneCallOnly(Arc::default());
    let layer = RetryLayer::new().plain("test").idempotent();
    assert_eq!(
        layer.layer(inner.clone()).oneshot(()).await,
        Err("finished for good")
    );
    assert_eq!(inner.0.load(Ordering::SeqCst), 1);
}

/// A body that counts the bodies of its type.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(10)
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_response_is_dropped_before_the_next_attempt() {
    let bodies = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inner = {
        let (bodies, seen) = (bodies.clone(), seen.clone());
        service_fn(move |_request| {
            seen.lock().unwrap().push(bodies.load(Ordering::SeqCst));
            let mut response = Response::new(Counted::new(&bodies));
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            async { Ok::<_, Infallible>(response) }
        })
    };
    let response = RetryLayer::new()
        .http()
        .layer(inner)
        .oneshot(get())
        .await
        .unwrap();
    assert_eq!(*seen.lock().unwrap(), [0, 0, 0]);
    assert_eq!(bodies.load(Ordering::SeqCst), 1);
    drop(response);
}

/// RT-10, T-03: dropped after any number of polls, in an attempt and in a delay.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_makes_no_further_attempt() {
    let mut cx = Context::from_waker(Waker::noop());
    for polls in 0..12 {
        let probe = Probe::new();
        let counts = probe.counts();
        let mut service = RetryLayer::new().plain("probe").idempotent().layer(probe);
        std::future::poll_fn(|cx| Service::<Action>::poll_ready(&mut service, cx))
            .await
            .unwrap();
        let started = {
            let mut call = pin!(service.call(Action::FailFirst(2)));
            for _ in 0..polls {
                if call.as_mut().poll(&mut cx).is_ready() {
                    break;
                }
                tokio::time::advance(Duration::from_millis(30)).await;
            }
            counts.started()
        };
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(counts.started(), started, "{polls}");
        assert_eq!((counts.in_flight(), counts.reserved()), (0, 0), "{polls}");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_and_given_up_calls_emit_events() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let seen = seen.clone();
        move |event: &Event| seen.lock().unwrap().push(event.clone())
    };
    let layer = RetryLayer::new()
        .attempts(2)
        .unwrap()
        .name("search")
        .events(sink);
    let service = layer
        .protocol(Plain::new("search"))
        .idempotent()
        .layer(Probe::new());
    assert!(service.oneshot(Action::Fail).await.is_err());
    let seen = seen.lock().unwrap();
    let [
        Event::Retried {
            name,
            number,
            outcome,
            ..
        },
        given_up,
    ] = &seen[..]
    else {
        panic!("{seen:?}");
    };
    assert_eq!(
        (name.as_str(), *number, *outcome),
        ("search", 1, Outcome::Failure)
    );
    let expected = Event::RetryGivenUp {
        name: "search".into(),
        retries: 1,
        outcome: Outcome::Failure,
        reason: "attempts",
    };
    assert_eq!(*given_up, expected);
}

#[tokio::test(start_paused = true)]
async fn a_handle_changes_the_attempts_of_later_calls() {
    let layer = RetryLayer::new().http();
    let handle = layer.handle();
    let service = layer.layer(Script::of(&[503; 100]));
    let mut attempts = Vec::new();
    for change in [1, 5, 3] {
        handle.set_attempts(change).unwrap();
        let before = handle.snapshot().retries;
        call(&service, get()).await;
        attempts.push(handle.snapshot().retries - before + 1);
    }
    assert_eq!(attempts, [1, 5, 3]);
    assert_eq!(handle.snapshot().budget.calls, 3);
}

#[tokio::test(start_paused = true)]
async fn a_handle_follows_later_setters() {
    let layer = RetryLayer::new();
    let handle = layer.handle();
    let budget = Budget::new(0.0, 1).unwrap();
    let layer = layer
        .budget(budget.clone())
        .attempts(9)
        .unwrap()
        .name("search");
    handle.set_attempts(2).unwrap();
    let layer = layer.plain("probe").idempotent();
    let service = layer.layer(Probe::new());
    assert!(service.oneshot(Action::Fail).await.is_err());
    assert_eq!(handle.snapshot().retries, 1);
    assert_eq!(handle.snapshot().budget, budget.snapshot());

    // A layer that is changed after it has made a service starts with new counts.
    let changed = layer.name("other").layer(Probe::new());
    assert!(changed.oneshot(Action::Fail).await.is_err());
    assert_eq!(handle.snapshot().retries, 1);
}

/// A load balancer further in learns the instances of the attempts before, in `call` and in polls; only if there may be another one.
#[tokio::test(start_paused = true)]
async fn an_attempt_knows_the_instances_of_the_attempts_before() {
    for (attempts, expected) in [(3, vec![Some(0), Some(2), Some(4)]), (1, vec![None])] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let count = || {
            AttemptedInstances::current()
                .map(|attempted| (1..=6).filter(|id| attempted.contains(*id)).count())
        };
        let balancer = service_fn(move |_: Request<Full<Bytes>>| {
            let id = 2 * log.lock().unwrap().len() as u32 + 1;
            log.lock().unwrap().push(count());
            AttemptedInstances::record(id);
            async move {
                tokio::task::yield_now().await;
                AttemptedInstances::record(id + 1);
                Ok::<_, Infallible>(answer(503, &[]))
            }
        });
        let retry = RetryLayer::new().attempts(attempts).unwrap().http();
        let service = retry.layer(balancer);
        assert_eq!(service.oneshot(get()).await.unwrap().status(), 503);
        assert_eq!(*seen.lock().unwrap(), expected);
        assert_eq!(AttemptedInstances::current(), None);
    }
}
