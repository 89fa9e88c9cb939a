//! Coalescing as callers see it.

use std::{task::Poll, time::Duration};

use tower::{Layer, Service, ServiceExt};
use towerkit_coalesce::{CoalesceHandle, CoalesceLayer};
use towerkit_core::{
    BoxError, KeyFn, LayerExt, OperationSet, Outcome, Plain, Rejection, RejectionReason,
};
use towerkit_test::{Action, MockError, MockService, Probe, Task, run_paused};

type Keys<Req> = KeyFn<fn(&Req) -> Option<u8>, u8>;

fn layer() -> CoalesceLayer<Keys<u8>, Plain> {
    let key: fn(&u8) -> Option<u8> = |key| Some(*key);
    CoalesceLayer::new(key).plain("mock")
}

/// A layer around a mock service, with a number of calls with the same key, each polled once.
struct Scene {
    mock: MockService,
    handle: CoalesceHandle<u8>,
    tasks: Vec<Task<Result<u64, MockError>>>,
}

fn scene(layer: CoalesceLayer<Keys<u8>, Plain>, calls: usize) -> Scene {
    let mock = MockService::default();
    let handle = layer.handle();
    let mut service = layer.layer(mock.clone());
    let mut call = || {
        let mut task = Task::new(service.call(7));
        assert!(task.poll().is_pending());
        task
    };
    let tasks = (0..calls).map(|_| call()).collect();
    Scene {
        mock,
        handle,
        tasks,
    }
}

impl Scene {
    /// Polls the callers that were woken, and returns their results.
    fn poll_woken(&mut self) -> Vec<Result<u64, MockError>> {
        let is_woken = |task: &&mut Task<_>| task.take_wakes() > 0 && !task.is_over();
        let woken: Vec<_> = self.tasks.iter_mut().filter(is_woken).collect();
        let ready = woken.into_iter().filter_map(|task| match task.poll() {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        });
        ready.collect()
    }
}

#[test]
fn calls_with_equal_keys_share_one_call() {
    let mut scene = scene(layer(), 100);
    assert_eq!(scene.mock.calls(), [7]);
    scene.mock.respond(0);
    let led = scene.poll_woken();
    assert_eq!(led.len(), 1);
    let shared = scene.poll_woken();
    assert_eq!(shared.len(), 99);
    assert!(shared.iter().all(|result| matches!(result, Ok(0))));
    let snapshot = scene.handle.snapshot();
    assert_eq!(
        (snapshot.in_flight, snapshot.calls, snapshot.shared),
        (0, 1, 99)
    );
}

#[test]
fn a_call_after_the_response_is_not_shared() {
    let probe = Probe::new();
    let counts = probe.counts();
    let service = one_key().layer(probe);
    run_paused(async {
        for _ in 0..3 {
            service.clone().oneshot(Action::Succeed).await.unwrap();
        }
    });
    assert_eq!(counts.started(), 3);
}

/// One waiter leads, and the others wait for it.
#[test]
fn after_a_failure_one_waiter_calls() {
    let mut scene = scene(layer(), 4);
    scene.mock.respond_with(0, Err(MockError));
    assert!(matches!(scene.poll_woken()[..], [Err(_)]));
    assert!(scene.poll_woken().is_empty());
    assert_eq!(scene.mock.calls().len(), 2);
    scene.mock.respond(1);
    assert!(matches!(scene.poll_woken()[..], [Ok(1)]));
    assert!(matches!(scene.poll_woken()[..], [Ok(1), Ok(1)]));
    assert_eq!(scene.handle.snapshot().in_flight, 0);
}

/// Ten callers of a service that always fails are done after three rounds, and not after ten.
#[test]
fn repeated_failures_delay_a_waiter_for_a_bounded_time() {
    for waits in [1, 2, 5] {
        let mut scene = scene(layer().max_waits(waits).unwrap(), 10);
        let mut rounds = 0;
        while !scene.tasks.iter().all(Task::is_over) {
            rounds += 1;
            for call in scene.mock.pending() {
                scene.mock.respond_with(call, Err(MockError));
            }
            // The polls of the leader, of the waiters, and the first poll of the new leader.
            for _ in 0..3 {
                scene.poll_woken();
            }
        }
        assert_eq!(rounds, waits + 1);
        assert_eq!(scene.mock.calls().len(), 10);
        assert_eq!(scene.handle.snapshot().in_flight, 0);
    }
}

/// T-03
#[test]
fn when_the_leader_is_dropped_a_waiter_leads() {
    let mut scene = scene(layer(), 3);
    scene.tasks[0].cancel();
    assert!(scene.poll_woken().is_empty());
    assert_eq!(scene.mock.pending(), [1]);
    scene.tasks[1].cancel();
    assert!(scene.poll_woken().is_empty());
    assert_eq!(scene.mock.pending(), [2]);
    scene.mock.respond(2);
    assert!(matches!(scene.poll_woken()[..], [Ok(2)]));
    assert_eq!(scene.handle.snapshot().in_flight, 0);
}

/// T-06
#[test]
fn a_waiter_is_woken_once_per_call() {
    let mut scene = scene(layer(), 50);
    assert_eq!(scene.tasks.iter().map(Task::take_wakes).sum::<u32>(), 0);
    scene.mock.respond_with(0, Err(MockError));
    scene.tasks[0].take_wakes();
    assert!(scene.tasks[0].poll().is_ready());
    assert!(scene.tasks[1..].iter().all(|task| task.take_wakes() == 1));
}

/// T-06: also one that is polled again and again in between.
#[test]
fn spurious_polls_are_harmless() {
    let mut scene = scene(layer(), 2);
    for _ in 0..100 {
        assert!(scene.tasks[1].poll().is_pending());
    }
    scene.mock.respond(0);
    assert!(scene.tasks[0].poll().is_ready());
    assert_eq!(scene.tasks[1].take_wakes(), 1);
}

type ProbeLayer = CoalesceLayer<Keys<Action>, Plain>;

fn one_key() -> ProbeLayer {
    let key: fn(&Action) -> Option<u8> = |_| Some(1);
    CoalesceLayer::new(key).plain("probe")
}

/// T-04
#[test]
fn after_a_panic_of_the_leader_a_waiter_leads() {
    run_paused(async {
        for act in [Action::PanicInCall, Action::PanicInFuture] {
            let probe = Probe::new();
            let counts = probe.counts();
            let layer = one_key();
            let service = layer.layer(probe);
            let leader = tokio::spawn(service.clone().oneshot(act));
            let others: Vec<_> = (0..3)
                .map(|_| tokio::spawn(service.clone().oneshot(Action::Pend(3))))
                .collect();
            assert!(leader.await.unwrap_err().is_panic());
            for other in others {
                assert_eq!(other.await.unwrap().unwrap(), Action::Pend(3));
            }
            assert!(counts.started() <= 3, "{act:?}");
            assert_eq!(layer.handle().snapshot().in_flight, 0);
        }
    });
}

/// A panic ends the shared call even if the code that catches it keeps the future.
#[test]
fn a_panic_wakes_waiters_before_the_future_is_dropped() {
    let layer = one_key();
    let mut service = layer.layer(Probe::new());
    let ready = std::future::poll_fn(|cx| service.poll_ready(cx));
    run_paused(ready).unwrap();
    let mut leader = Task::new(service.call(Action::PanicInFuture));
    assert_eq!(layer.handle().snapshot().in_flight, 1);
    let poll = std::panic::AssertUnwindSafe(|| leader.poll());
    assert!(std::panic::catch_unwind(poll).is_err());
    assert_eq!(layer.handle().snapshot().in_flight, 0);
}

/// T-02, T-05: a waiter holds no readiness, and polls for its own before it calls.
#[test]
fn a_waiter_holds_no_readiness_and_polls_for_its_own() {
    run_paused(async {
        let probe = Probe::ready_after(Duration::from_secs(1));
        let counts = probe.counts();
        let service = one_key().layer(probe);
        let call = |act| {
            let mut service = service.clone();
            async move {
                let call = service.ready().await.unwrap().call(act);
                (service, call)
            }
        };
        let (_leading, leader) = call(Action::Sleep(Duration::from_secs(10))).await;
        let (_waiting, waiter) = call(Action::Succeed).await;
        assert_eq!((counts.started(), counts.reserved()), (1, 0));
        drop(leader);
        waiter.await.unwrap();
        assert_eq!(
            (counts.started(), counts.reserved(), counts.violations()),
            (2, 0, 0)
        );
    });
}

/// T-03: a waiter that is dropped at any poll, also when it is about to lead.
#[test]
fn a_waiter_dropped_at_any_poll_delays_no_other() {
    for polls in 0..6 {
        run_paused(async {
            let probe = Probe::ready_after(Duration::from_millis(1));
            let counts = probe.counts();
            let layer = one_key();
            let handle = layer.handle();
            let service = layer.layer(probe);
            let call = async |act| service.clone().ready_oneshot().await.unwrap().call(act);
            let leader = call(Action::Fail).await;
            let mut dropped = Task::new(call(Action::Pend(2)).await);
            let last = tokio::spawn(call(Action::Succeed).await);
            let mut leader = Some(leader);
            for _ in 0..polls {
                tokio::time::sleep(Duration::from_millis(1)).await;
                if dropped.is_over() || dropped.poll().is_ready() {
                    break;
                }
                if let Some(leader) = leader.take() {
                    assert!(leader.await.is_err());
                }
            }
            drop((dropped, leader));
            last.await.unwrap().unwrap();
            assert_eq!((counts.in_flight(), counts.reserved()), (0, 0), "{polls}");
            assert_eq!(handle.snapshot().in_flight, 0, "{polls}");
        });
    }
}

#[test]
fn a_rejection_is_not_shared() {
    run_paused(async {
        let layer = CoalesceLayer::new(|_: &u8| Some(()))
            .share(|_| true)
            .plain("test");
        let inner = tower::service_fn(|caller: u8| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            match caller {
                0 => Err(BoxError::from(Rejection::new(
                    RejectionReason::RateLimited,
                    "test",
                ))),
                _ => Ok(caller),
            }
        });
        let service = layer.layer(inner);
        let [rejected, served] = [0, 1].map(|caller| service.clone().oneshot(caller));
        let (rejected, served) = tokio::join!(rejected, served);
        assert!(rejected.unwrap_err().is::<Rejection>());
        assert_eq!(served.unwrap(), 1);
    });
}

/// The protocol classifies failures.
#[test]
fn a_failed_response_is_shared_only_on_request() {
    for (share, calls) in [(None, 2), (Some(true), 1)] {
        run_paused(async {
            let probe = Probe::new();
            let counts = probe.counts();
            let mut layer = one_key();
            if let Some(share) = share {
                layer = layer.share(move |_| share);
            }
            let failing = Plain::new("probe").classify(|_: &Result<Action, _>| Outcome::Failure);
            let service = layer.protocol(failing).layer(probe);
            let nap = Action::Sleep(Duration::from_secs(1));
            let [one, other] = [nap, nap].map(|act| service.clone().oneshot(act));
            let (one, other) = tokio::join!(one, other);
            assert!(one.is_ok() && other.is_ok());
            assert_eq!(counts.started(), calls);
        });
    }
}

#[test]
fn unselected_operations_are_not_shared() {
    run_paused(async {
        for (name, calls) in [("read", 1), ("write", 2)] {
            let probe = Probe::new();
            let counts = probe.counts();
            let reads = OperationSet::exact("read");
            let layer = one_key().plain(name).only(reads);
            let service = layer.layer(probe);
            let nap = Action::Sleep(Duration::from_secs(1));
            let [one, other] = [nap, nap].map(|act| service.clone().oneshot(act));
            let (one, other) = tokio::join!(one, other);
            assert!(one.is_ok() && other.is_ok());
            assert_eq!(counts.started(), calls, "{name}");
        }
    });
}

/// One layer wraps two services with equal keys.
#[test]
fn services_with_different_response_types_share_no_calls() {
    run_paused(async {
        let layer = CoalesceLayer::new(|_: &u8| Some(())).plain("test");
        let nap = || tokio::time::sleep(Duration::from_secs(1));
        let numbers = layer.layer(tower::service_fn(move |_: u8| async move {
            nap().await;
            Ok::<_, BoxError>(1)
        }));
        let words = layer.layer(tower::service_fn(move |_: u8| async move {
            nap().await;
            Ok::<_, BoxError>("one")
        }));
        let (number, word) = tokio::join!(numbers.oneshot(0), words.oneshot(0));
        assert_eq!((number.unwrap(), word.unwrap()), (1, "one"));
    });
}

#[test]
fn services_and_futures_have_the_bounds_of_tower() {
    fn anywhere<T: Send + Sync + 'static>(_: &T) {}
    let layer = one_key();
    let mut service = layer.layer(Probe::new());
    anywhere(&layer);
    anywhere(&layer.handle());
    anywhere(&service);
    run_paused(async { service.ready().await.map(drop) }).unwrap();
    fn sent<T: Send>(_: &T) {}
    sent(&service.call(Action::Succeed));
}

#[test]
fn a_handle_follows_later_setters() {
    let layer = CoalesceLayer::new(|_: &Action| Some(()));
    let handle = layer.handle();
    let layer = layer.max_waits(9).unwrap().max_body(9).unwrap();
    let service = layer.share(|_| true).plain("probe").layer(Probe::new());
    run_paused(service.oneshot(Action::Succeed)).unwrap();
    assert_eq!(handle.snapshot().calls, 1);
}
