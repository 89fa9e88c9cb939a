//! The fallback as a caller and as the layers outside see it.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use tokio::task::yield_now;
use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_core::{
    BoxError, CarriesRejection, Event, LayerExt, OperationSet, Outcome, Plain, Rejection,
    RejectionReason,
};
use towerkit_fallback::FallbackLayer;
use towerkit_test::{Action, Probe, ProbeError};

const SECOND: Duration = Duration::from_secs(1);

/// Halves even numbers.
fn halve() -> impl Service<u32, Response = u32, Error = BoxError> + Clone {
    service_fn(|n: u32| async move {
        match n % 2 {
            0 => Ok(n / 2),
            _ => Err(BoxError::from("odd")),
        }
    })
}

#[tokio::test]
async fn a_value_replaces_only_failures() {
    let service = FallbackLayer::value(99).plain("halve").layer(halve());
    assert_eq!(service.clone().oneshot(8).await.unwrap(), 4);
    assert_eq!(service.oneshot(7).await.unwrap(), 99);
}

#[tokio::test]
async fn a_function_gets_the_end_of_the_call() {
    let layer = FallbackLayer::function(|failed: Result<u32, BoxError>, end| {
        assert_eq!(end.outcome(), Outcome::Failure);
        Ok(failed.unwrap_err().to_string().len() as u32)
    });
    let layer = layer.plain("halve");
    assert_eq!(layer.layer(halve()).oneshot(7).await.unwrap(), 3);
}

#[tokio::test]
async fn a_function_may_return_the_failure() {
    let layer = FallbackLayer::function(|failed, _end| failed).plain("halve");
    let handle = layer.handle();
    let error = layer.layer(halve()).oneshot(7).await.unwrap_err();
    assert_eq!(error.to_string(), "odd");
    assert_eq!(
        (handle.snapshot().answered, handle.snapshot().failed),
        (0, 1)
    );
}

#[tokio::test]
async fn the_fallback_service_gets_the_same_request() {
    let other = service_fn(|n: u32| async move { Ok::<_, BoxError>(n * 100) });
    let service = FallbackLayer::service(other).plain("halve").layer(halve());
    assert_eq!(service.clone().oneshot(8).await.unwrap(), 4);
    assert_eq!(service.oneshot(7).await.unwrap(), 700);
}

#[tokio::test]
async fn the_failure_of_the_fallback_service_is_returned() {
    let other = service_fn(|_: u32| async { Err::<u32, _>(BoxError::from("worse")) });
    let layer = FallbackLayer::service(other).plain("halve");
    let handle = layer.handle();
    let error = layer.layer(halve()).oneshot(7).await.unwrap_err();
    assert_eq!(error.to_string(), "worse");
    assert_eq!(
        (handle.snapshot().answered, handle.snapshot().failed),
        (0, 1)
    );
}

/// Fails at its third poll.
fn failing() -> impl Service<Action, Response = Action, Error = ProbeError, Future: Send> + Clone {
    service_fn(|_: Action| async {
        yield_now().await;
        yield_now().await;
        let rejection = Rejection::new(RejectionReason::Unavailable, "first");
        Err(ProbeError::from_rejection(rejection))
    })
}

/// T-02: the other service is asked whether it is ready, and only when it is needed.
#[tokio::test(start_paused = true)]
async fn the_fallback_service_is_ready_before_it_is_called() {
    let other = Probe::ready_after(SECOND);
    let counts = other.counts();
    let layer = FallbackLayer::service(other).plain("halve");
    let service = layer.layer(Probe::new());
    service.oneshot(Action::Succeed).await.unwrap();
    assert_eq!(counts.polls(), 0);
    for calls in 1..=3 {
        let service = layer.layer(failing());
        assert_eq!(
            service.oneshot(Action::Succeed).await.unwrap(),
            Action::Succeed
        );
        assert_eq!((counts.violations(), counts.started()), (0, calls));
    }
    assert_eq!(counts.reserved(), 0);
}

#[tokio::test]
async fn a_readiness_error_of_the_fallback_service_is_returned() {
    let layer = FallbackLayer::service(Probe::never_ready()).plain("halve");
    let error = layer.layer(failing()).oneshot(Action::Succeed).await;
    assert!(error.unwrap_err().is_unready());
    assert_eq!(layer.handle().snapshot().failed, 1);
}

/// T-03: while the first call goes on, while the other service gets ready, while it answers.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_in_any_phase_releases_all() {
    let mut reached = Vec::new();
    for polls in 0..12 {
        let other = Probe::ready_after(SECOND);
        let counts = other.counts();
        let service = FallbackLayer::service(other)
            .plain("halve")
            .layer(failing());
        {
            let mut call = pin!(service.oneshot(Action::Pend(3)));
            for _ in 0..polls {
                if poll_once(call.as_mut()).await.is_ready() {
                    break;
                }
                tokio::time::sleep(SECOND / 2).await;
            }
        }
        assert_eq!((counts.in_flight(), counts.reserved()), (0, 0), "{polls}");
        reached.push((counts.polls() > 0, counts.started(), counts.finished()));
    }
    reached.dedup();
    let phases = [(false, 0, 0), (true, 0, 0), (true, 1, 0), (true, 1, 1)];
    assert_eq!(reached, phases);
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// T-04: a panic of the other service goes on, and the next call is served.
#[tokio::test]
async fn a_panic_of_the_fallback_service_propagates() {
    for act in [Action::PanicInCall, Action::PanicInFuture] {
        let other = Probe::new();
        let counts = other.counts();
        let service = FallbackLayer::service(other)
            .plain("halve")
            .layer(failing());
        let call = tokio::spawn({
            let service = service.clone();
            async move { service.oneshot(act).await }
        });
        assert!(call.await.unwrap_err().is_panic());
        assert_eq!(counts.in_flight(), 0);
        assert!(service.oneshot(Action::Succeed).await.is_ok());
    }
}

#[tokio::test]
async fn every_fallback_is_reported_and_counted() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let layer = FallbackLayer::value(99)
        .name("prices")
        .events(move |event: &Event| seen.lock().unwrap().push(event.clone()))
        .plain("halve");
    let handle = layer.handle();
    let service = layer.layer(halve());
    for n in [8, 7, 6] {
        service.clone().oneshot(n).await.unwrap();
    }
    let expected = Event::FallbackUsed {
        name: "prices".into(),
        from: Outcome::Failure,
        to: Outcome::Success,
    };
    assert_eq!(*events.lock().unwrap(), [expected]);
    assert_eq!(
        (handle.snapshot().answered, handle.snapshot().failed),
        (1, 0)
    );
}

#[tokio::test]
async fn a_fallback_can_be_disabled_at_run_time() {
    let layer = FallbackLayer::value(99).plain("halve");
    let handle = layer.handle();
    let service = layer.layer(halve());
    handle.disable();
    assert!(!handle.snapshot().enabled);
    assert!(service.clone().oneshot(7).await.is_err());
    handle.enable();
    assert_eq!(service.oneshot(7).await.unwrap(), 99);

    let other = service_fn(|n: u32| async move { Ok::<_, BoxError>(n) });
    let layer = FallbackLayer::service(other).plain("halve");
    layer.handle().disable();
    assert!(layer.layer(halve()).oneshot(7).await.is_err());
}

/// A4.7
#[tokio::test]
async fn operations_that_are_not_selected_do_not_fall_back() {
    for (name, is_served) in [("price", true), ("order", false)] {
        let only = OperationSet::exact("price");
        let layer = FallbackLayer::value(99).only(only.clone()).plain(name);
        assert_eq!(layer.layer(halve()).oneshot(7).await.is_ok(), is_served);
        let other = service_fn(|n: u32| async move { Ok::<_, BoxError>(n) });
        let layer = FallbackLayer::service(other).only(only).plain(name);
        assert_eq!(layer.layer(halve()).oneshot(7).await.is_ok(), is_served);
    }
}

#[tokio::test]
async fn the_condition_is_configurable() {
    let layer = FallbackLayer::value(99)
        .when(|end| end.rejection_reason().is_some())
        .plain("halve");
    assert!(layer.layer(halve()).oneshot(7).await.is_err());
    let full = service_fn(|_: u32| async {
        Err::<u32, _>(BoxError::from(Rejection::new(
            RejectionReason::Overloaded,
            "pool",
        )))
    });
    assert_eq!(layer.layer(full).oneshot(7).await.unwrap(), 99);

    let all = FallbackLayer::value(99).when(|_| true).plain("halve");
    let answer = all.layer(halve()).oneshot(8).await;
    assert_eq!(answer.unwrap(), 4, "a success is no failure");
}

/// A business failure has no error and is one all the same.
#[tokio::test]
async fn a_response_that_is_classified_as_a_failure_falls_back() {
    let classify = |result: &Result<u32, BoxError>| match result {
        Ok(0) => Outcome::Failure,
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::ClientError,
    };
    let plain = Plain::new("halve").classify(classify);
    let service = FallbackLayer::value(99).protocol(plain).layer(halve());
    assert_eq!(service.clone().oneshot(0).await.unwrap(), 99);
    assert!(service.oneshot(7).await.is_err(), "the caller is to blame");
}

#[tokio::test]
async fn a_handle_follows_later_setters() {
    let layer = FallbackLayer::value(99);
    let handle = layer.handle();
    let layer = layer.when(|_| true).name("prices").events(|_: &Event| {});
    let service = layer.plain("halve").layer(halve());
    assert_eq!(service.oneshot(7).await.unwrap(), 99);
    assert_eq!(handle.snapshot().answered, 1);
}
