//! Calls without an instance.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use towerkit_balance::P2c;
use towerkit_core::{BoxError, Deadline, Rejection, RejectionReason};
use towerkit_discovery::Discovery;
use towerkit_test::tokio_clock;

use super::setup::{MS, SECOND, call, instances, layer, succeeding};

fn reason(error: &BoxError) -> (RejectionReason, String) {
    let rejection = error.downcast_ref::<Rejection>().unwrap();
    (rejection.reason(), rejection.layer().to_string())
}

/// LB-06
#[tokio::test(start_paused = true)]
async fn a_call_without_instances_is_rejected_at_once() {
    for discovery in [Discovery::channel().0, Discovery::fixed([])] {
        let service = layer(P2c::new())
            .name("stock")
            .layer(succeeding(&discovery));
        let start = Instant::now();
        let error = service.oneshot(1).await.unwrap_err();
        assert_eq!(
            reason(&error),
            (RejectionReason::Unavailable, "stock".into())
        );
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

/// LB-06
#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_first_instance() {
    let (discovery, sender) = Discovery::channel();
    let service = layer(P2c::new())
        .max_wait(10 * SECOND)
        .layer(succeeding(&discovery));
    let start = Instant::now();
    let calls: Vec<_> = (0..10)
        .map(|n| tokio::spawn(service.clone().oneshot(n)))
        .collect();
    sleep(3 * SECOND).await;
    // Not an instance yet.
    sender.fail("no answer");
    sleep(3 * SECOND).await;
    sender.set(instances(3));
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(start.elapsed() <= 6 * SECOND + 100 * MS);
}

/// LB-06
#[tokio::test(start_paused = true)]
async fn the_wait_is_limited() {
    let (discovery, sender) = Discovery::channel();
    let service = layer(P2c::new())
        .max_wait(2 * SECOND)
        .layer(succeeding(&discovery));
    let start = Instant::now();
    let waiting = tokio::spawn(service.clone().oneshot(1));
    // Announcements without instances do not prolong it.
    for _ in 0..3 {
        sleep(500 * MS).await;
        sender.fail("no answer");
        sender.set([]);
    }
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(reason(&error).0, RejectionReason::Unavailable);
    assert_eq!(start.elapsed(), 2 * SECOND);
}

/// LB-06
#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_call_ends_its_wait() {
    let service = layer(P2c::new())
        .max_wait(10 * SECOND)
        .layer(succeeding(&Discovery::channel().0));
    let start = Instant::now();
    let deadline = Deadline::after(&tokio_clock(), SECOND);
    let call = Deadline::enter(Some(&deadline), || service.oneshot(1));
    let mut call = Box::pin(call);
    let error =
        std::future::poll_fn(|cx| Deadline::enter(Some(&deadline), || call.as_mut().poll(cx)))
            .await
            .unwrap_err();
    assert_eq!(reason(&error).0, RejectionReason::DeadlineExceeded);
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_leaves_nothing() {
    let (discovery, sender) = Discovery::channel();
    let layer = layer(P2c::new()).max_wait(10 * SECOND);
    let handle = layer.handle();
    let service = layer.layer(succeeding(&discovery));
    for polls in 0..3 {
        let mut waiting = tokio_test(service.clone().oneshot(1));
        for _ in 0..polls {
            assert!(waiting.poll().is_pending());
        }
    }
    sender.set(instances(1));
    assert_eq!(call(&service, 1).await, 0);
    assert_eq!(handle.snapshot().instances[0].calls_in_flight, 0);
}

struct Polled<F>(std::pin::Pin<Box<F>>);

fn tokio_test<F: Future>(future: F) -> Polled<F> {
    Polled(Box::pin(future))
}

impl<F: Future> Polled<F> {
    fn poll(&mut self) -> std::task::Poll<F::Output> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        self.0.as_mut().poll(&mut cx)
    }
}

/// ribbon 478, light-4j 376, grpc-dotnet 1672: an error of the registry wiped the set.
#[tokio::test(start_paused = true)]
async fn the_last_instances_serve_while_the_registry_does_not_answer() {
    let (discovery, sender) = Discovery::channel();
    let service = layer(P2c::new()).layer(succeeding(&discovery));
    sender.set(instances(1));
    sender.fail("no answer");
    sleep(3600 * SECOND).await;
    assert_eq!(call(&service, 1).await, 0);
    // And none if the registry says so.
    sender.set([]);
    assert!(service.oneshot(1).await.is_err());
}

/// Every waiting call is placed, whichever thread announces the set.
#[test]
fn no_thread_waits_for_ever() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for _ in 0..200 {
            let (discovery, sender) = Discovery::channel();
            let service = layer(P2c::new())
                .max_wait(60 * SECOND)
                .layer(succeeding(&discovery));
            let calls: Vec<_> = (0..8)
                .map(|n| tokio::spawn(service.clone().oneshot(n)))
                .collect();
            let announce = Arc::new(sender);
            tokio::spawn(async move { announce.set(instances(2)) });
            for call in calls {
                tokio::time::timeout(30 * SECOND, call)
                    .await
                    .expect("placed")
                    .unwrap()
                    .unwrap();
            }
        }
    });
}
