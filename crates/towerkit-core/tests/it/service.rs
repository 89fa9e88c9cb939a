//! The middleware around every policy: readiness, rejection, cancellation, panics, exactly one finish.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use crate::support::{Broken, Gate, Queue, Scribe, Seen, Then};
use tower::{Layer, Service, ServiceExt};
use towerkit_core::{
    BoxError, Call, CallEnd, CarriesRejection, Clock, LayerExt, Observer, Outcome, Policy,
    PolicyLayer, RejectionReason, async_guard, guard, observe, stack,
};
use towerkit_test::{Action, Probe, Subject, contract};

fn seen(outcome: Outcome) -> Seen {
    Seen {
        outcome,
        rejected: None,
        panicked: false,
    }
}

fn rejected(reason: RejectionReason) -> Seen {
    Seen {
        rejected: Some(reason),
        ..seen(reason.outcome())
    }
}

fn closed_gate() -> Arc<Gate> {
    let gate = Arc::new(Gate::default());
    gate.is_closed.store(true, Ordering::SeqCst);
    gate
}

fn scribe_subject()
-> Subject<impl Layer<Probe, Service: Clone + Service<Action, Error = towerkit_test::ProbeError>>> {
    let scribe = Arc::new(Scribe::default());
    let layer = stack((
        observe(scribe.clone()),
        guard(Gate::default()),
        observe(scribe.clone()),
    ));
    Subject::new(layer.plain("probe"))
        .count_resources(move || scribe.in_flight.load(Ordering::SeqCst))
}

contract!(policies, PlainClient, scribe_subject());
contract!(
    leaked,
    PlainClient,
    Subject::new(guard(Gate::default()).leak())
);
contract!(
    absent,
    PlainClient,
    Subject::new(
        stack((
            Some(guard(Gate::default())),
            None::<PolicyLayer<towerkit_core::AsGuard<Arc<Gate>>>>
        ))
        .plain("probe")
    )
);

#[tokio::test]
async fn each_ending_is_finished_once_with_its_outcome() {
    for (act, expected) in [
        (Action::Succeed, Outcome::Success),
        (Action::Fail, Outcome::Failure),
    ] {
        let scribe = Arc::new(Scribe::default());
        let service = observe(scribe.clone()).plain("probe").layer(Probe::new());
        let _ = service.oneshot(act).await;
        assert_eq!(scribe.end(), seen(expected));
    }
}

/// T-03
#[tokio::test]
async fn a_dropped_call_is_cancelled_and_its_future_is_dropped_inside_the_policies() {
    for polls in 0..3 {
        let scribe = Arc::new(Scribe::default());
        let mut service = observe(scribe.clone()).plain("probe").layer(Probe::new());
        ServiceExt::<Action>::ready(&mut service).await.unwrap();
        {
            let mut call = pin!(service.call(Action::Pend(5)));
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..polls {
                assert!(call.as_mut().poll(&mut cx).is_pending());
            }
        }
        // Once for `call`, once for each poll, once for the drop.
        assert_eq!(scribe.entries.load(Ordering::SeqCst), polls + 2);
        assert_eq!(scribe.end(), seen(Outcome::Cancelled));
    }
}

/// T-04
#[tokio::test]
async fn a_panic_is_finished_as_a_failure_and_goes_on() {
    for act in [Action::PanicInCall, Action::PanicInFuture] {
        let scribe = Arc::new(Scribe::default());
        let mut service = observe(scribe.clone()).plain("probe").layer(Probe::new());
        ServiceExt::<Action>::ready(&mut service).await.unwrap();
        let call = AssertUnwindSafe(|| {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = pin!(service.call(act)).poll(&mut cx);
        });
        assert!(catch_unwind(call).is_err());
        let expected = Seen {
            panicked: true,
            ..seen(Outcome::Failure)
        };
        assert_eq!(scribe.end(), expected);
    }
}

/// T-04: a guard that panics after another policy has begun.
#[tokio::test]
async fn a_panic_in_a_policy_finishes_the_policies_before_it() {
    let scribe = Arc::new(Scribe::default());
    let layer = stack((observe(scribe.clone()), guard(Broken))).plain("probe");
    let mut service = layer.layer(Probe::new());
    ServiceExt::<Action>::ready(&mut service).await.unwrap();
    let call = AssertUnwindSafe(|| drop(service.call(Action::Succeed)));
    assert!(catch_unwind(call).is_err());
    assert!(scribe.end().panicked);
}

#[tokio::test]
async fn a_rejection_is_observed_by_outer_policies_and_layers_but_not_by_the_service() {
    let (outer, before, after) = (
        Arc::<Scribe>::default(),
        Arc::<Scribe>::default(),
        Arc::<Scribe>::default(),
    );
    let layer = stack((
        observe(before.clone()),
        guard(closed_gate()),
        observe(after.clone()),
    ));
    let probe = Probe::new();
    let counts = probe.counts();
    let inner = layer.plain("probe").layer(probe);
    let outer_layer = stack((observe(outer.clone()), guard(Gate::default())));
    let service = outer_layer.plain("outer").layer(inner);
    assert!(service.oneshot(Action::Succeed).await.is_err());
    assert_eq!(before.end(), rejected(RejectionReason::Unavailable));
    assert!(after.ends().is_empty());
    assert_eq!(counts.started(), 0);
    assert_eq!(outer.end(), rejected(RejectionReason::Unavailable));
}

/// Reads its clock at the end of each call.
struct ReadsClock(Clock);

impl Policy for ReadsClock {
    type CallState = ();

    fn finish(&self, _state: (), end: &CallEnd) {
        let _ = end.now(&self.0);
    }
}

impl<Req> Observer<Req> for ReadsClock {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

#[tokio::test]
async fn the_policies_of_a_rejected_call_share_one_reading_of_the_clock() {
    let readings = Arc::new(AtomicU64::new(0));
    let clock = Clock::custom({
        let readings = readings.clone();
        move || Duration::from_nanos(readings.fetch_add(1, Ordering::SeqCst))
    });
    let reads = || observe(ReadsClock(clock.clone()));
    let layer = stack((reads(), reads(), reads(), guard(closed_gate()))).plain("probe");
    assert!(
        layer
            .layer(Probe::new())
            .oneshot(Action::Succeed)
            .await
            .is_err()
    );
    assert_eq!(readings.swap(0, Ordering::SeqCst), 1);

    let queue = async_guard(Queue::new(Then::RejectAfter(1)));
    let layer = stack((reads(), reads(), queue)).plain("probe");
    assert!(
        layer
            .layer(Probe::new())
            .oneshot(Action::Succeed)
            .await
            .is_err()
    );
    assert_eq!(readings.load(Ordering::SeqCst), 1);
}

/// FIX-10: a policy stack of observers alone does not know the service's own error type, unless it is told that this can tell.
#[tokio::test]
async fn an_observer_asks_errors_whether_they_are_rejections_when_it_is_told_to() {
    let scribe = Arc::new(Scribe::default());
    let opaque = observe(scribe.clone())
        .plain("outer")
        .layer(guard(closed_gate()).layer(Probe::new()));
    let asks = observe(scribe.clone())
        .protocol(towerkit_core::Plain::new("outer").by_rejection())
        .layer(guard(closed_gate()).layer(Probe::new()));
    assert!(asks.oneshot(Action::Succeed).await.is_err());
    assert!(opaque.oneshot(Action::Succeed).await.is_err());
    assert_eq!(
        scribe.ends(),
        [
            rejected(RejectionReason::Unavailable),
            seen(Outcome::Failure)
        ]
    );
}

#[tokio::test]
async fn a_rejection_in_a_box_is_recognised_however_deep() {
    let outer = Arc::new(Scribe::default());
    let service = tower::ServiceBuilder::new()
        .layer(observe(outer.clone()).plain("outer"))
        .layer(guard(closed_gate()))
        .service_fn(|(): ()| async { Ok::<_, BoxError>(()) });
    let error = service.oneshot(()).await.unwrap_err();
    assert_eq!(error.rejection().unwrap().layer(), "gate");
    assert_eq!(outer.end(), rejected(RejectionReason::Unavailable));
}

/// CB-07: an early rejection does not poll the inner service.
#[tokio::test]
async fn an_early_rejection_does_not_poll_the_inner_service_and_outer_policies_observe_the_call() {
    let (gate, scribe) = (closed_gate(), Arc::new(Scribe::default()));
    gate.rejects_early.store(true, Ordering::SeqCst);
    let probe = Probe::ready_after(Duration::from_secs(3600));
    let counts = probe.counts();
    let layer = stack((observe(scribe.clone()), guard(gate.clone()))).plain("probe");
    let mut service = layer.layer(probe);
    ServiceExt::<Action>::ready(&mut service).await.unwrap();
    assert!(service.call(Action::Succeed).await.is_err());
    assert_eq!((counts.polls(), counts.started()), (0, 0));
    assert_eq!(scribe.end(), rejected(RejectionReason::Unavailable));
}

#[tokio::test]
async fn a_guard_that_opens_between_readiness_and_call_still_rejects_the_call() {
    let (gate, scribe) = (closed_gate(), Arc::new(Scribe::default()));
    gate.rejects_early.store(true, Ordering::SeqCst);
    let probe = Probe::new();
    let counts = probe.counts();
    let layer = stack((observe(scribe.clone()), guard(gate.clone()))).plain("probe");
    let mut service = layer.layer(probe);
    ServiceExt::<Action>::ready(&mut service).await.unwrap();
    gate.is_closed.store(false, Ordering::SeqCst);
    // A clone starts unready and knows nothing of the rejection.
    assert!(service.clone().oneshot(Action::Succeed).await.is_ok());
    assert!(service.call(Action::Succeed).await.is_err());
    assert_eq!((counts.started(), counts.violations()), (1, 0));
    assert_eq!(
        scribe.ends(),
        [
            seen(Outcome::Success),
            rejected(RejectionReason::Unavailable)
        ]
    );
}

#[tokio::test]
async fn every_poll_of_a_call_is_inside_its_policies() {
    let scribe = Arc::new(Scribe::default());
    let witness = scribe.clone();
    let service = observe(scribe.clone())
        .plain("depth")
        .layer(tower::service_fn(move |(): ()| {
            let witness = witness.clone();
            let mut polls = 0;
            poll_fn(move |cx| {
                assert_eq!(witness.entered.load(Ordering::SeqCst), 1);
                polls += 1;
                cx.waker().wake_by_ref();
                if polls < 3 {
                    std::task::Poll::Pending
                } else {
                    std::task::Poll::Ready(Ok::<_, BoxError>(()))
                }
            })
        }));
    service.oneshot(()).await.unwrap();
    assert_eq!(scribe.end(), seen(Outcome::Success));
}

#[tokio::test]
async fn a_function_and_a_failer_classify_results() {
    struct Reply(Option<std::fmt::Error>);
    impl towerkit_core::Failer for Reply {
        fn failed(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.0.as_ref().map(|error| error as _)
        }
    }
    let scribe = Arc::new(Scribe::default());
    let reply =
        |fails: bool| async move { Ok::<_, BoxError>(Reply(fails.then_some(std::fmt::Error))) };
    let by_failer =
        observe(scribe.clone()).protocol(towerkit_core::Plain::new("reply").by_failer());
    let service = by_failer.layer(tower::service_fn(reply));
    service.clone().oneshot(true).await.unwrap();
    service.oneshot(false).await.unwrap();
    let by_function =
        observe(scribe.clone()).protocol(towerkit_core::Plain::new("reply").classify(|result| {
            if result.is_ok() {
                Outcome::Overloaded
            } else {
                Outcome::Success
            }
        }));
    by_function
        .layer(tower::service_fn(reply))
        .oneshot(false)
        .await
        .unwrap();
    let expected = [Outcome::Failure, Outcome::Success, Outcome::Overloaded].map(seen);
    assert_eq!(scribe.ends(), expected);
}

#[test]
fn a_rejection_stays_small() {
    assert!(size_of::<towerkit_core::Rejection>() <= 64);
}

/// Counts how often it is cloned.
#[derive(Debug, Default)]
struct Copied(Arc<std::sync::atomic::AtomicUsize>);

impl Clone for Copied {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::SeqCst);
        Self(self.0.clone())
    }
}

impl Policy for Copied {
    type CallState = ();

    fn finish(&self, _state: (), _end: &CallEnd) {}
}

/// axum makes a service of a layer for each connection: neither copies nor leaks may go along with that.
#[test]
fn a_layer_makes_its_policies_once_for_all_services() {
    let copied = Copied::default();
    let policy: towerkit_core::AsGuard<_> = towerkit_core::AsGuard::new(Copied(copied.0.clone()));
    let counted = PolicyLayer::new(policy, towerkit_core::Plain::new("copied"));
    for layer in [counted.clone(), counted.leak()] {
        let before = copied.0.load(Ordering::SeqCst);
        for _ in 0..100 {
            drop(layer.layer(Probe::new()));
        }
        assert_eq!(copied.0.load(Ordering::SeqCst), before + 1);
    }
}
