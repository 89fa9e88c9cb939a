//! A4.7: a layer applied to some operations only, around a service and inside a row.

use std::sync::Arc;

use tower::{Layer, Service, ServiceExt};
use towerkit_core::{
    Backpressure, BoxError, Call, End, Guard, LayerExt, Operations, Plain, Policy, Reason,
    Refusable, Rejection, async_guard, guard, stack,
};
use towerkit_test::{Act, Probe, Subject, contract};

use crate::support::{Queue, Then};

/// Refuses every call, and is shut when it says so.
#[derive(Clone)]
struct Closed {
    is_shut: bool,
}

impl Policy for Closed {
    type Held = ();
    const FOLLOWS: bool = false;
    fn finish(&self, (): (), _end: &End) {}
}

impl<Req> Guard<Req> for Closed {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        Err(Rejection::new(Reason::Unavailable, "closed"))
    }

    fn shut(&self) -> Option<Rejection> {
        self.is_shut
            .then(|| Rejection::new(Reason::Unavailable, "closed"))
    }
}

fn closed() -> towerkit_core::RowLayer<towerkit_core::Guards<Arc<Closed>>, Plain> {
    guard(Closed { is_shut: false })
}

async fn is_served(
    layer: impl Layer<Probe, Service: Service<Act, Error = towerkit_test::ProbeError>>,
) -> bool {
    let result = layer.layer(Probe::new()).oneshot(Act::Succeed).await;
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
    let only = |name| closed().only(Operations::exact("buy")).plain(name);
    assert!(!is_served(only("buy")).await);
    assert!(is_served(only("browse")).await);
}

#[tokio::test]
async fn the_protocol_may_be_said_before_or_after() {
    let before = closed().plain("buy").only(Operations::exact("buy"));
    assert!(!is_served(before).await);
    let twice = closed().only(Operations::prefix("b")).plain("buy");
    assert!(!is_served(twice.only(Operations::exact("buy"))).await);
    let none = closed().only(Operations::prefix("b")).plain("buy");
    assert!(is_served(none.only(Operations::exact("bye"))).await);
}

#[tokio::test]
async fn inside_a_row_each_role_has_operations_of_its_own() {
    let row = |name| {
        stack((
            closed().only(Operations::exact("sell")),
            closed().only(Operations::exact("buy")),
        ))
        .plain(name)
    };
    assert!(!is_served(row("buy")).await);
    assert!(!is_served(row("sell")).await);
    assert!(is_served(row("browse")).await);
}

#[tokio::test]
async fn a_guard_that_is_shut_does_not_keep_other_operations_from_becoming_ready() {
    let layer = guard(Closed { is_shut: true });
    let only = |name| layer.clone().only(Operations::exact("buy")).plain(name);
    assert!(is_served(only("browse")).await);
    assert!(!is_served(only("buy")).await);
}

/// A guard that holds a load balancer back may not be asked either.
#[tokio::test]
async fn a_guard_that_is_held_back_does_not_keep_other_operations_from_becoming_ready() {
    struct Never;
    impl Policy for Never {
        type Held = ();
        const FOLLOWS: bool = false;
        fn finish(&self, (): (), _end: &End) {}
    }
    impl<Req> Guard<Req> for Never {
        fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
            Err(Rejection::new(Reason::Unavailable, "never"))
        }
        fn backpressure(&self) -> Option<Backpressure> {
            Some(Backpressure::new(std::future::pending()))
        }
    }
    let never = Arc::new(Never);
    let only = |name| {
        guard(never.clone())
            .only(Operations::exact("buy"))
            .plain(name)
    };
    assert!(is_served(only("browse")).await);
    assert!(!is_served(only("buy")).await);
    let row = stack((
        guard(never.clone()).only(Operations::exact("buy")),
        closed(),
    ));
    assert!(!is_served(row.plain("browse")).await);
}

#[tokio::test]
async fn a_row_that_may_wait_lets_calls_pass_by() {
    let queue = Arc::new(Queue::new(Then::RefuseAfter(1)));
    let only = |name| {
        async_guard(queue.clone())
            .only(Operations::exact("buy"))
            .plain(name)
    };
    assert!(is_served(only("browse")).await);
    assert!(!is_served(only("buy")).await);
}

#[tokio::test]
async fn the_error_of_a_plain_service_stays_what_it_is() {
    let layer = closed().only(Operations::exact("buy")).plain("browse");
    let service = layer.layer(tower::service_fn(|()| async {
        Err::<(), _>(BoxError::from("no"))
    }));
    assert_eq!(service.oneshot(()).await.unwrap_err().to_string(), "no");
}

contract!(
    passed_by,
    PlainCalls,
    Subject::new(closed().only(Operations::exact("other")).plain("probe"))
);
contract!(
    passed_by_in_a_row,
    PlainCalls,
    Subject::new(
        stack((
            closed().only(Operations::exact("other")),
            closed().only(Operations::prefix("x"))
        ))
        .plain("probe")
    )
);
