//! A4.7: a layer applied to some operations only, around a service and inside a policy stack.

use std::sync::Arc;

use tower::{Layer, Service, ServiceExt};
use towerkit_core::{
    Backpressure, BoxError, Call, CallEnd, CarriesRejection, Guard, LayerExt, OperationSet, Plain,
    Policy, Rejection, RejectionReason, async_guard, guard, stack,
};
use towerkit_test::{Action, Probe, Subject, contract};

use crate::support::{Queue, Then};

/// Rejects every call, also early if `rejects_early`.
#[derive(Clone)]
struct Closed {
    rejects_early: bool,
}

impl Policy for Closed {
    type CallState = ();
    const NEEDS_END: bool = false;
    fn finish(&self, (): (), _end: &CallEnd) {}
}

impl<Req> Guard<Req> for Closed {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        Err(Rejection::new(RejectionReason::Unavailable, "closed"))
    }

    fn early_rejection(&self) -> Option<Rejection> {
        self.rejects_early
            .then(|| Rejection::new(RejectionReason::Unavailable, "closed"))
    }
}

fn closed() -> towerkit_core::PolicyLayer<towerkit_core::AsGuard<Arc<Closed>>, Plain> {
    guard(Closed {
        rejects_early: false,
    })
}

async fn is_served(
    layer: impl Layer<Probe, Service: Service<Action, Error = towerkit_test::ProbeError>>,
) -> bool {
    let result = layer.layer(Probe::new()).oneshot(Action::Succeed).await;
    match result {
        Ok(_) => true,
        Err(error) => {
            assert!(error.rejection().is_some());
            false
        }
    }
}

#[tokio::test]
async fn a_layer_looks_after_its_operations_and_lets_others_pass() {
    let only = |name| closed().only(OperationSet::exact("buy")).plain(name);
    assert!(!is_served(only("buy")).await);
    assert!(is_served(only("browse")).await);
}

#[tokio::test]
async fn the_protocol_may_be_chosen_before_or_after() {
    let before = closed().plain("buy").only(OperationSet::exact("buy"));
    assert!(!is_served(before).await);
    let twice = closed().only(OperationSet::prefix("b")).plain("buy");
    assert!(!is_served(twice.only(OperationSet::exact("buy"))).await);
    let none = closed().only(OperationSet::prefix("b")).plain("buy");
    assert!(is_served(none.only(OperationSet::exact("bye"))).await);
}

#[tokio::test]
async fn inside_a_stack_each_policy_has_operations_of_its_own() {
    let layer = |name| {
        stack((
            closed().only(OperationSet::exact("sell")),
            closed().only(OperationSet::exact("buy")),
        ))
        .plain(name)
    };
    assert!(!is_served(layer("buy")).await);
    assert!(!is_served(layer("sell")).await);
    assert!(is_served(layer("browse")).await);
}

#[tokio::test]
async fn an_early_rejection_does_not_affect_the_readiness_of_other_operations() {
    let layer = guard(Closed {
        rejects_early: true,
    });
    let only = |name| layer.clone().only(OperationSet::exact("buy")).plain(name);
    assert!(is_served(only("browse")).await);
    assert!(!is_served(only("buy")).await);
}

/// A guard that holds a load balancer back may not be asked either.
#[tokio::test]
async fn backpressure_does_not_affect_the_readiness_of_other_operations() {
    struct Never;
    impl Policy for Never {
        type CallState = ();
        const NEEDS_END: bool = false;
        fn finish(&self, (): (), _end: &CallEnd) {}
    }
    impl<Req> Guard<Req> for Never {
        fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
            Err(Rejection::new(RejectionReason::Unavailable, "never"))
        }
        fn backpressure(&self) -> Option<Backpressure> {
            Some(Backpressure::new(std::future::pending()))
        }
    }
    let never = Arc::new(Never);
    let only = |name| {
        guard(never.clone())
            .only(OperationSet::exact("buy"))
            .plain(name)
    };
    assert!(is_served(only("browse")).await);
    assert!(!is_served(only("buy")).await);
    let layer = stack((
        guard(never.clone()).only(OperationSet::exact("buy")),
        closed(),
    ));
    assert!(!is_served(layer.plain("browse")).await);
}

#[tokio::test]
async fn a_stack_that_may_wait_supports_only() {
    let queue = Arc::new(Queue::new(Then::RejectAfter(1)));
    let only = |name| {
        async_guard(queue.clone())
            .only(OperationSet::exact("buy"))
            .plain(name)
    };
    assert!(is_served(only("browse")).await);
    assert!(!is_served(only("buy")).await);
}

#[tokio::test]
async fn the_error_of_a_plain_service_is_unchanged() {
    let layer = closed().only(OperationSet::exact("buy")).plain("browse");
    let service = layer.layer(tower::service_fn(|()| async {
        Err::<(), _>(BoxError::from("no"))
    }));
    assert_eq!(service.oneshot(()).await.unwrap_err().to_string(), "no");
}

contract!(
    passed_by,
    PlainClient,
    Subject::new(closed().only(OperationSet::exact("other")).plain("probe"))
);
contract!(
    passed_by_in_a_stack,
    PlainClient,
    Subject::new(
        stack((
            closed().only(OperationSet::exact("other")),
            closed().only(OperationSet::prefix("x"))
        ))
        .plain("probe")
    )
);
