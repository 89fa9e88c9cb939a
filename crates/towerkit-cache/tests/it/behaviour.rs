//! The behaviour of a cache, in the order of the docs.

use std::{task::Poll, time::Duration};

use tower::{Layer, Service, ServiceExt};
use towerkit_cache::{Cache, CacheHandle, CacheLayer, Capacity, Lifetime};
use towerkit_coalesce::CoalesceLayer;
use towerkit_core::{
    BoxError, Clock, KeyFn, LayerExt, ManualClock, OperationSet, Outcome, Plain, Rejection,
    RejectionReason,
};
use towerkit_test::{Action, MockError, MockService, Probe, Task, run_paused, tokio_clock};

const SECOND: Duration = Duration::from_secs(1);

type Keys<Req> = KeyFn<fn(&Req) -> Option<u8>, u8>;

fn lifetime() -> Lifetime {
    Lifetime::new(10 * SECOND).unwrap()
}

fn capacity() -> Capacity {
    Capacity::entries(1_000).unwrap()
}

/// A layer around a mock service, with a manual clock.
struct Scene {
    mock: MockService,
    clock_control: ManualClock,
    handle: CacheHandle<u8>,
    service: Cache<MockService, Keys<u8>, Plain>,
}

fn scene(lifetime: Lifetime) -> Scene {
    let mock = MockService::default();
    let (clock, clock_control) = Clock::manual();
    let key: fn(&u8) -> Option<u8> = |key| Some(*key);
    let layer = CacheLayer::new(lifetime, capacity(), key)
        .clock(clock)
        .plain("mock");
    Scene {
        service: layer.layer(mock.clone()),
        handle: layer.handle(),
        mock,
        clock_control,
    }
}

impl Scene {
    /// Calls, and polls once.
    fn call(&mut self, key: u8) -> (Task<Result<u64, MockError>>, Option<u64>) {
        let mut task = Task::new(self.service.call(key));
        let response = match task.poll() {
            Poll::Ready(result) => result.ok(),
            Poll::Pending => None,
        };
        (task, response)
    }

    /// Calls, and answers the call of the inner service, whose response is then cached.
    fn fetch(&mut self, key: u8) -> u64 {
        let (mut task, response) = self.call(key);
        assert_eq!(response, None, "it was cached already");
        let call = self.mock.calls().len() - 1;
        self.mock.respond(call);
        assert!(matches!(task.poll(), Poll::Ready(Ok(response)) if response == call as u64));
        call as u64
    }
}

#[test]
fn a_fresh_response_is_returned_to_every_caller() {
    let mut scene = scene(lifetime());
    assert_eq!(scene.fetch(7), 0);
    assert_eq!(scene.call(7).1, Some(0));
    assert_eq!(scene.fetch(8), 1);
    scene
        .clock_control
        .advance(10 * SECOND - Duration::from_nanos(1));
    assert_eq!(scene.call(7).1, Some(0));
    scene.clock_control.advance(Duration::from_nanos(1));
    assert_eq!(scene.fetch(7), 2);
    assert_eq!(scene.call(7).1, Some(2));
    let seen = scene.handle.snapshot();
    assert_eq!((seen.entries, seen.weight), (2, 2));
    assert_eq!((seen.hits, seen.stale, seen.misses), (3, 0, 3));
}

#[test]
fn while_one_caller_fetches_the_others_get_the_stale_response_at_once() {
    let mut scene = scene(lifetime().stale_while_revalidate(5 * SECOND).unwrap());
    scene.fetch(7);
    scene.clock_control.advance(12 * SECOND);
    let (mut fetching, response) = scene.call(7);
    assert_eq!(response, None);
    for _ in 0..3 {
        assert_eq!(scene.call(7).1, Some(0));
    }
    assert_eq!(scene.mock.calls().len(), 2);
    scene.mock.respond(1);
    assert!(matches!(fetching.poll(), Poll::Ready(Ok(1))));
    assert_eq!(scene.call(7).1, Some(1));
    assert_eq!(scene.handle.snapshot().stale, 3);
}

/// T-03
#[test]
fn the_next_caller_fetches_after_a_fetch_is_dropped_or_fails() {
    let mut scene = scene(lifetime().stale_while_revalidate(5 * SECOND).unwrap());
    scene.fetch(7);
    scene.clock_control.advance(12 * SECOND);
    let (dropped, _) = scene.call(7);
    assert_eq!(scene.call(7).1, Some(0));
    drop(dropped);
    let (mut failing, _) = scene.call(7);
    assert_eq!(scene.mock.calls().len(), 3);
    scene.mock.respond_with(2, Err(MockError));
    assert!(matches!(failing.poll(), Poll::Ready(Err(MockError))));
    scene.fetch(7);
    assert_eq!(scene.mock.calls().len(), 4);
}

/// After the window callers fetch for themselves, although an earlier fetch is still in flight.
#[test]
fn a_fetch_that_never_ends_delays_no_other_caller() {
    let mut scene = scene(lifetime().stale_while_revalidate(5 * SECOND).unwrap());
    scene.fetch(7);
    scene.clock_control.advance(12 * SECOND);
    let _in_flight = scene.call(7);
    scene.clock_control.advance(3 * SECOND);
    assert_eq!(scene.fetch(7), 2);
}

#[test]
fn a_stale_response_replaces_a_failure() {
    let mut scene = scene(lifetime().stale_if_error(60 * SECOND).unwrap());
    scene.fetch(7);
    scene.clock_control.advance(69 * SECOND);
    let (mut failing, _) = scene.call(7);
    scene.mock.respond_with(1, Err(MockError));
    assert!(matches!(failing.poll(), Poll::Ready(Ok(0))));
    let (mut failing, _) = scene.call(7);
    // The window is compared with the time of the failure, not of the call.
    scene.clock_control.advance(SECOND);
    scene.mock.respond_with(2, Err(MockError));
    assert!(matches!(failing.poll(), Poll::Ready(Err(MockError))));
    assert_eq!(scene.handle.snapshot().stale, 1);
}

#[test]
fn a_response_that_was_requested_before_an_invalidation_is_not_cached() {
    for clear in [false, true] {
        let mut scene = scene(lifetime().stale_if_error(60 * SECOND).unwrap());
        scene.fetch(7);
        let handle = scene.handle.clone();
        let invalidate = || {
            if clear {
                handle.clear();
            } else {
                handle.invalidate(&7);
            }
        };
        invalidate();
        let (mut requested_before, _) = scene.call(7);
        invalidate();
        scene.mock.respond(1);
        assert!(matches!(requested_before.poll(), Poll::Ready(Ok(1))));
        assert_eq!(scene.fetch(7), 2);
        // Nor does it replace a failure.
        scene.clock_control.advance(20 * SECOND);
        let (mut failing, _) = scene.call(7);
        invalidate();
        scene.mock.respond_with(3, Err(MockError));
        assert!(matches!(failing.poll(), Poll::Ready(Err(MockError))));
    }
}

#[test]
fn an_invalidation_of_one_key_keeps_the_others() {
    let mut scene = scene(lifetime());
    for key in 0..200 {
        scene.fetch(key);
    }
    scene.handle.invalidate(&7);
    for key in (0..200).filter(|key| *key != 7) {
        assert_eq!(scene.call(key).1, Some(u64::from(key)));
    }
    assert_eq!(scene.handle.snapshot().entries, 199);
}

#[test]
fn a_handle_changes_the_lifetime_of_later_responses() {
    let mut scene = scene(lifetime());
    scene.fetch(7);
    let shorter = Lifetime::new(SECOND).unwrap();
    scene.handle.set_lifetime(shorter);
    assert_eq!(scene.handle.lifetime(), shorter);
    scene.fetch(8);
    scene.clock_control.advance(SECOND);
    assert_eq!(scene.call(7).1, Some(0));
    assert_eq!(scene.fetch(8), 2);
}

/// Keys that are requested once stay within the capacity, and do not evict those that are requested often.
#[test]
fn many_keys_stay_within_the_capacity() {
    let capacity = Capacity::entries(100).unwrap();
    let layer = CacheLayer::new(lifetime(), capacity, |key: &u64| Some(*key)).plain("echo");
    let handle = layer.handle();
    let mut service = layer.layer(tower::service_fn(async |key| Ok::<_, BoxError>(key)));
    let mut call = async |key: u64| service.ready().await.unwrap().call(key).await.unwrap();
    run_paused(async {
        for key in 0..20_000 {
            call(key % 10).await;
            call(1_000 + key).await;
        }
    });
    let seen = handle.snapshot();
    assert!(seen.entries <= 100, "{seen:?}");
    assert!(seen.hits > 19_000, "{seen:?}");
}

type ProbeLayer = CacheLayer<Keys<Action>, Plain>;

fn one_key() -> ProbeLayer {
    let key: fn(&Action) -> Option<u8> = |_| Some(1);
    CacheLayer::new(lifetime(), capacity(), key).plain("probe")
}

/// T-05: a call that is answered from the cache releases the unused readiness.
#[test]
fn a_hit_holds_no_readiness() {
    run_paused(async {
        let probe = Probe::ready_after(SECOND);
        let counts = probe.counts();
        let mut service = one_key().layer(probe);
        service
            .ready()
            .await
            .unwrap()
            .call(Action::Succeed)
            .await
            .unwrap();
        let hit = service.ready().await.unwrap().call(Action::Succeed);
        assert_eq!((counts.started(), counts.reserved()), (1, 0));
        hit.await.unwrap();
        service
            .ready()
            .await
            .unwrap()
            .call(Action::Succeed)
            .await
            .unwrap();
        assert_eq!((counts.started(), counts.violations()), (1, 0));
    });
}

/// T-03, T-04: the caller is dropped after any number of polls, or panics.
#[test]
fn a_caller_that_is_dropped_or_panics_leaves_the_fetch_to_the_next() {
    for ending in 0..7 {
        run_paused(async {
            let probe = Probe::new();
            let counts = probe.counts();
            let lifetime = lifetime().stale_while_revalidate(60 * SECOND).unwrap();
            let key: fn(&Action) -> Option<u8> = |_| Some(1);
            let layer = CacheLayer::new(lifetime, capacity(), key)
                .clock(tokio_clock())
                .plain("probe");
            let mut service = layer.layer(probe);
            let response = service.ready().await.unwrap().call(Action::Succeed).await;
            assert_eq!(response.unwrap(), Action::Succeed);
            tokio::time::advance(20 * SECOND).await;

            let action = if ending < 5 {
                Action::Pend(4)
            } else {
                Action::PanicInFuture
            };
            let mut other = service.clone();
            let mut fetching = Task::new(other.ready().await.unwrap().call(action));
            if ending < 5 {
                for _ in 0..ending {
                    assert!(fetching.poll().is_pending());
                }
            } else {
                let poll = std::panic::AssertUnwindSafe(|| fetching.poll());
                assert!(std::panic::catch_unwind(poll).is_err());
            }
            if ending < 6 {
                fetching.cancel();
            }
            let next = service.ready().await.unwrap().call(Action::Pend(1)).await;
            assert_eq!(next.unwrap(), Action::Pend(1), "{ending}");
            let cached = service.ready().await.unwrap().call(Action::Succeed).await;
            assert_eq!(cached.unwrap(), Action::Pend(1), "{ending}");
            drop(fetching);
            assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
        });
    }
}

/// The protocol classifies responses; `keep` overrides it.
#[test]
fn only_successes_are_cached_by_default() {
    for (keep_all, calls) in [(false, 2), (true, 1)] {
        run_paused(async {
            let probe = Probe::new();
            let counts = probe.counts();
            let mut layer = one_key();
            if keep_all {
                layer = layer.keep(|_| true).plain("test");
            }
            let failing = Plain::new("probe").classify(|_: &Result<Action, _>| Outcome::Failure);
            let mut service = layer.protocol(failing).layer(probe);
            for _ in 0..2 {
                service
                    .ready()
                    .await
                    .unwrap()
                    .call(Action::Succeed)
                    .await
                    .unwrap();
            }
            assert_eq!(counts.started(), calls);
        });
    }
}

#[test]
fn a_rejection_is_not_cached_and_is_replaced_by_a_stale_response() {
    run_paused(async {
        let lifetime = lifetime().stale_if_error(60 * SECOND).unwrap();
        let layer = CacheLayer::new(lifetime, capacity(), |_: &bool| Some(()))
            .clock(tokio_clock())
            .keep(|_| true)
            .plain("test");
        let inner = tower::service_fn(async |reject: bool| {
            let rejection = Rejection::new(RejectionReason::RateLimited, "test");
            if reject {
                Err(BoxError::from(rejection))
            } else {
                Ok("fresh")
            }
        });
        let service = layer.layer(inner);
        let rejected = service.clone().oneshot(true).await.unwrap_err();
        assert!(rejected.is::<Rejection>());
        assert_eq!(service.clone().oneshot(false).await.unwrap(), "fresh");
        tokio::time::advance(20 * SECOND).await;
        assert_eq!(service.oneshot(true).await.unwrap(), "fresh");
    });
}

#[test]
fn operations_that_are_not_selected_bypass_the_cache() {
    run_paused(async {
        for (name, calls) in [("read", 1), ("write", 2)] {
            let probe = Probe::new();
            let counts = probe.counts();
            let layer = one_key().plain(name).only(OperationSet::exact("read"));
            let mut service = layer.layer(probe);
            for _ in 0..2 {
                service
                    .ready()
                    .await
                    .unwrap()
                    .call(Action::Succeed)
                    .await
                    .unwrap();
            }
            assert_eq!(counts.started(), calls, "{name}");
        }
    });
}

/// The cache limits fetches to one per key for stale responses; coalescing does so for missing ones.
#[test]
fn with_coalescing_inside_concurrent_misses_make_one_call() {
    run_paused(async {
        let probe = Probe::new();
        let counts = probe.counts();
        let coalesce = CoalesceLayer::new(|_: &Action| Some(())).plain("probe");
        let service = one_key().layer(coalesce.layer(probe));
        let call = || service.clone().oneshot(Action::Sleep(SECOND));
        let (one, two, three) = tokio::join!(call(), call(), call());
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        call().await.unwrap();
        assert_eq!(counts.started(), 1);
    });
}

/// One layer wraps two services with equal keys.
#[test]
fn services_with_different_response_types_share_no_responses() {
    run_paused(async {
        let layer = CacheLayer::new(lifetime(), capacity(), |_: &u8| Some(())).plain("test");
        let numbers = layer.layer(tower::service_fn(async |_: u8| Ok::<_, BoxError>(1)));
        let words = layer.layer(tower::service_fn(async |_: u8| Ok::<_, BoxError>("one")));
        assert_eq!(numbers.clone().oneshot(0).await.unwrap(), 1);
        assert_eq!(words.oneshot(0).await.unwrap(), "one");
        assert_eq!(numbers.oneshot(0).await.unwrap(), 1);
    });
}

#[test]
fn services_and_futures_are_send() {
    fn anywhere<T: Send + Sync + 'static>(_: &T) {}
    fn sent<T: Send>(_: &T) {}
    let layer = one_key();
    let mut service = layer.layer(Probe::new());
    anywhere(&layer);
    anywhere(&layer.handle());
    anywhere(&service);
    run_paused(async { service.ready().await.map(drop) }).unwrap();
    sent(&service.call(Action::Succeed));
}

#[test]
fn a_handle_follows_later_setters() {
    let layer = CacheLayer::new(lifetime(), capacity(), |_: &Action| Some(()));
    let handle = layer.handle();
    let layer = layer.clock(tokio_clock()).max_body(9).unwrap();
    let service = layer.keep(|_| true).plain("probe").layer(Probe::new());
    run_paused(service.oneshot(Action::Succeed)).unwrap();
    assert_eq!(handle.snapshot().misses, 1);
}
