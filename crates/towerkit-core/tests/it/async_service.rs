//! The middleware around a guard that may wait.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use crate::support::{Gate, Queue, Scribe, Then};
use tower::{Layer, Service, ServiceExt};
use towerkit_core::{
    CarriesRejection, LayerExt, Outcome, Rejection, RejectionReason, async_guard, guard, observe,
    stack,
};
use towerkit_test::{Action, Probe, ProbeError, Subject, contract};

/// A scribe before and after a queue, and a gate at the end.
macro_rules! layer {
    ($before:expr, $queue:expr, $gate:expr) => {
        stack((
            observe($before.clone()),
            async_guard($queue.clone()),
            guard($gate.clone()),
        ))
        .plain("probe")
    };
}

macro_rules! subject {
    ($then:expr) => {{
        let queue = Arc::new(Queue::new($then));
        let scribe = Arc::new(Scribe::default());
        let layer = layer!(scribe, queue, Arc::new(Gate::default()));
        Subject::new(layer).count_resources(move || {
            let queued = queue.waiting.load(Ordering::SeqCst) + queue.held.load(Ordering::SeqCst);
            queued + scribe.in_flight.load(Ordering::SeqCst)
        })
    }};
}

contract!(at_once, PlainClient, subject!(Then::AtOnce));

contract!(
    absent,
    PlainClient,
    Subject::new(
        stack((
            Some(async_guard(Queue::new(Then::AtOnce))),
            None::<towerkit_core::PolicyLayer<towerkit_core::AsAsyncGuard<Arc<Queue>>>>
        ))
        .plain("probe")
    )
);

struct Parts {
    scribe: Arc<Scribe>,
    queue: Arc<Queue>,
    gate: Arc<Gate>,
    probe: Probe,
}

fn parts(then: Then) -> Parts {
    Parts {
        scribe: Arc::default(),
        queue: Arc::new(Queue::new(then)),
        gate: Arc::default(),
        probe: Probe::new(),
    }
}

impl Parts {
    fn at_rest(&self) {
        assert_eq!(self.queue.waiting.load(Ordering::SeqCst), 0);
        assert_eq!(self.queue.held.load(Ordering::SeqCst), 0);
        let counts = self.probe.counts();
        assert_eq!(
            (counts.in_flight(), counts.reserved(), counts.violations()),
            (0, 0, 0)
        );
    }
}

#[tokio::test]
async fn a_call_that_waited_is_served_and_finished_once() {
    let parts = parts(Then::AdmitAfter(3));
    let service = layer!(parts.scribe, parts.queue, parts.gate).layer(parts.probe.clone());
    // `on_admitted` of the queue changes the request to fail into one to succeed.
    assert_eq!(
        service.oneshot(Action::Fail).await.unwrap(),
        Action::Succeed
    );
    assert_eq!(parts.scribe.end().outcome, Outcome::Success);
    parts.at_rest();
}

/// The middleware holds no readiness of the inner service for a call that waits.
#[tokio::test]
async fn a_call_that_waits_holds_no_readiness_of_the_inner_service() {
    let parts = parts(Then::AdmitAfter(1));
    let mut service = layer!(parts.scribe, parts.queue, parts.gate).layer(parts.probe.clone());
    ServiceExt::<Action>::ready(&mut service).await.unwrap();
    let counts = parts.probe.counts();
    assert_eq!(counts.reserved(), 1);
    let mut call = pin!(service.call(Action::Succeed));
    assert_eq!(counts.reserved(), 0);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert_eq!((counts.reserved(), counts.started()), (0, 0));
    assert!(matches!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
}

/// T-03, in every state of the future.
#[tokio::test]
async fn a_call_that_is_dropped_while_it_waits_gives_all_back() {
    for polls in 0..=8 {
        let parts = parts(Then::AdmitAfter(4));
        let mut service = layer!(parts.scribe, parts.queue, parts.gate).layer(parts.probe.clone());
        ServiceExt::<Action>::ready(&mut service).await.unwrap();
        {
            let mut call = pin!(service.call(Action::Pend(3)));
            let mut cx = Context::from_waker(Waker::noop());
            let mut polls = 0..polls;
            while polls.next().is_some() && call.as_mut().poll(&mut cx).is_pending() {}
        }
        let outcome = parts.scribe.end().outcome;
        let expected = if polls < 8 {
            Outcome::Cancelled
        } else {
            Outcome::Success
        };
        assert_eq!(outcome, expected, "{polls}");
        parts.at_rest();
    }
}

#[tokio::test]
async fn a_rejection_after_a_wait_is_observed_by_the_outer_policies() {
    let parts = parts(Then::RejectAfter(2));
    let service = layer!(parts.scribe, parts.queue, parts.gate).layer(parts.probe.clone());
    assert!(service.oneshot(Action::Succeed).await.is_err());
    assert_eq!(
        parts.scribe.end().rejected,
        Some(RejectionReason::Overloaded)
    );
    parts.at_rest();
}

#[tokio::test]
async fn a_rejection_by_a_later_policy_finishes_the_policy_that_waited() {
    let parts = parts(Then::AdmitAfter(2));
    parts.gate.is_closed.store(true, Ordering::SeqCst);
    let service = layer!(parts.scribe, parts.queue, parts.gate).layer(parts.probe.clone());
    assert!(service.oneshot(Action::Succeed).await.is_err());
    assert_eq!(
        parts.scribe.end().rejected,
        Some(RejectionReason::Unavailable)
    );
    assert_eq!(parts.probe.counts().started(), 0);
    parts.at_rest();
}

/// T-04
#[tokio::test]
async fn a_panic_while_a_call_waits_finishes_the_outer_policies() {
    let parts = parts(Then::PanicAfter(1));
    let mut service = layer!(parts.scribe, parts.queue, parts.gate).layer(parts.probe.clone());
    ServiceExt::<Action>::ready(&mut service).await.unwrap();
    let call = AssertUnwindSafe(|| {
        let mut call = pin!(service.call(Action::Succeed));
        let mut cx = Context::from_waker(Waker::noop());
        while call.as_mut().poll(&mut cx).is_pending() {}
    });
    assert!(catch_unwind(call).is_err());
    assert!(parts.scribe.end().panicked);
    parts.at_rest();
}

#[tokio::test]
async fn readiness_that_fails_after_a_wait_is_the_error_of_the_call() {
    let parts = parts(Then::AdmitAfter(1));
    let mut service = layer!(parts.scribe, parts.queue, parts.gate).layer(Probe::never_ready());
    let error = service.call(Action::Succeed).await.unwrap_err();
    assert!(error.is_unready());
    assert_eq!(parts.scribe.end().outcome, Outcome::Failure);
    parts.at_rest();
}

/// An error type of the service's own is asked whether it is a rejection, as it is of a call that did not wait.
#[tokio::test]
async fn readiness_that_is_rejected_after_a_wait_is_no_failure() {
    #[derive(Clone)]
    struct Rejects;
    impl Service<Action> for Rejects {
        type Response = Action;
        type Error = ProbeError;
        type Future = std::future::Pending<Result<Action, ProbeError>>;

        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
            let rejection = Rejection::new(RejectionReason::Unavailable, "inner");
            Poll::Ready(Err(ProbeError::from_rejection(rejection)))
        }

        fn call(&mut self, _act: Action) -> Self::Future {
            unreachable!("it is never ready")
        }
    }
    let parts = parts(Then::AdmitAfter(1));
    let mut service = layer!(parts.scribe, parts.queue, parts.gate).layer(Rejects);
    assert!(service.call(Action::Succeed).await.is_err());
    assert_eq!(
        parts.scribe.end().rejected,
        Some(RejectionReason::Unavailable)
    );
    parts.at_rest();
}

/// CB-07, beside a guard that may wait.
#[tokio::test]
async fn an_early_rejection_does_not_poll_the_inner_service() {
    let parts = parts(Then::AtOnce);
    parts.gate.is_closed.store(true, Ordering::SeqCst);
    parts.gate.rejects_early.store(true, Ordering::SeqCst);
    let mut service = layer!(parts.scribe, parts.queue, parts.gate).layer(parts.probe.clone());
    ServiceExt::<Action>::ready(&mut service).await.unwrap();
    // It opens too late: the inner service was not polled ready.
    parts.gate.is_closed.store(false, Ordering::SeqCst);
    assert!(service.call(Action::Succeed).await.is_err());
    assert_eq!(parts.probe.counts().polls(), 0);
    assert_eq!(
        parts.scribe.end().rejected,
        Some(RejectionReason::Unavailable)
    );
    parts.at_rest();
}
