//! A breaker for each key.

use std::{
    future::{Ready, ready},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_circuitbreaker::{
    CircuitBreakerLayer, KeyedCircuitBreakerHandle, KeyedCircuitBreakerLayer, Mode, OpenDuration,
    OpenWhen, State, WhenFull,
};
use towerkit_core::{
    BoxError, Call, CarriesRejection, Clock, LayerExt, ManualClock, RejectionReason, stack,
};

use super::setup::{OPEN_FOR, ended};

/// A request for one of many upstreams, which succeeds if `healthy` is true.
#[derive(Debug, Clone, Copy)]
struct Request {
    upstream: u64,
    healthy: bool,
}

type ByUpstream = fn(&Call<'_, Request>) -> Option<u64>;

struct KeyedSetup {
    layer: KeyedCircuitBreakerLayer<ByUpstream>,
    breakers: KeyedCircuitBreakerHandle,
    clock_control: ManualClock,
}

fn setup(
    capacity: usize,
    set: impl FnOnce(KeyedCircuitBreakerLayer<ByUpstream>) -> KeyedCircuitBreakerLayer<ByUpstream>,
) -> KeyedSetup {
    let (clock, clock_control) = Clock::manual();
    let by_upstream: ByUpstream =
        |call| (call.request.upstream > 0).then_some(call.request.upstream);
    let layer = KeyedCircuitBreakerLayer::new(capacity, by_upstream).unwrap();
    let open_when = OpenWhen::consecutive_failures(2).unwrap();
    let layer = set(layer.open_when(open_when).clock(clock));
    KeyedSetup {
        breakers: layer.handle(),
        layer,
        clock_control,
    }
}

fn answer(request: Request) -> Ready<Result<u64, BoxError>> {
    ready(if request.healthy {
        Ok(request.upstream)
    } else {
        Err("unwell".into())
    })
}

impl KeyedSetup {
    /// Returns true if the call was admitted.
    fn call(&self, upstream: u64, healthy: bool) -> bool {
        let result = ended(
            self.layer
                .layer(service_fn(answer))
                .oneshot(Request { upstream, healthy }),
        );
        match result {
            Ok(_) => true,
            Err(error) => error.rejection().is_none(),
        }
    }

    fn open(&self, upstream: u64) {
        assert!(self.call(upstream, false) && self.call(upstream, false));
        assert!(!self.call(upstream, true), "open");
    }

    fn state(&self, upstream: u64) -> Option<State> {
        self.breakers
            .snapshot(&upstream)
            .map(|snapshot| snapshot.state)
    }
}

#[test]
fn each_key_has_its_own_breaker() {
    let setup = setup(10, |layer| layer);
    setup.open(1);
    assert!(setup.call(2, true) && setup.call(2, false));
    assert_eq!(setup.state(1), Some(State::Open));
    assert_eq!(setup.state(2), Some(State::Closed));
    assert_eq!(setup.state(3), None);
    setup.clock_control.advance(OPEN_FOR);
    assert!(setup.call(1, true));
    assert_eq!(setup.state(1), Some(State::Closed));
    assert_eq!(setup.breakers.keys(), 2);
}

#[test]
fn a_call_without_a_key_passes_without_a_breaker() {
    let setup = setup(1, |layer| layer);
    assert!((0..10).all(|_| setup.call(0, false)));
    assert_eq!(setup.breakers.keys(), 0);
}

/// Other keys neither close an open breaker nor remove a failure.
#[test]
fn a_key_with_failures_is_not_evicted() {
    let setup = setup(100, |layer| layer);
    for bad in 1..=40 {
        setup.open(bad);
    }
    for failing in 41..=80 {
        assert!(setup.call(failing, false));
    }
    for other in 1_000..101_000 {
        assert!(setup.call(other, true));
    }
    assert_eq!(setup.breakers.keys(), 100);
    for bad in 1..=40 {
        assert!(!setup.call(bad, true));
    }
    for failing in 41..=80 {
        assert!(setup.call(failing, false));
        assert_eq!(setup.state(failing), Some(State::Open));
    }
}

/// The eviction approximates least recently used: the key in use is never evicted, and so counts all of its calls.
#[test]
fn a_key_in_use_is_not_evicted_before_keys_used_once() {
    let open_when = OpenWhen::failure_rate(1.0, 2_000, 2_000).unwrap();
    let setup = setup(16, |layer| layer.open_when(open_when));
    assert!(setup.call(2, true));
    for other in 1_000..2_000 {
        assert!(setup.call(1, true));
        assert!(setup.call(other, true));
    }
    assert_eq!(setup.breakers.snapshot(&1_u64).unwrap().results, 1_000);
}

#[test]
fn keys_without_a_slot_share_one_breaker() {
    let setup = setup(2, |layer| layer);
    setup.open(1);
    setup.open(2);
    assert!(setup.call(3, false) && setup.call(4, false));
    assert_eq!(setup.breakers.shared_snapshot().unwrap().state, State::Open);
    assert!(!setup.call(5, true));
    assert_eq!(setup.state(3), None);
    setup.clock_control.advance(OPEN_FOR);
    assert!(setup.call(1, true), "which makes room");
    assert!(setup.call(3, true));
    assert_eq!(
        (setup.state(1), setup.state(3)),
        (None, Some(State::Closed))
    );
}

#[test]
fn with_reject_a_key_without_a_slot_is_rejected() {
    let setup = setup(1, |layer| layer.when_full(WhenFull::Reject).name("stock"));
    setup.open(1);
    let service = setup.layer.layer(service_fn(answer));
    let request = Request {
        upstream: 2,
        healthy: true,
    };
    let error = ended(service.oneshot(request)).unwrap_err();
    let rejection = error.rejection().expect("a rejection");
    assert_eq!(rejection.reason(), RejectionReason::Overloaded);
    assert_eq!(rejection.to_string(), "stock: overloaded");
}

#[test]
fn with_bypass_a_key_without_a_slot_passes_without_a_breaker() {
    let setup = setup(1, |layer| layer.when_full(WhenFull::Bypass));
    setup.open(1);
    assert!((0..10).all(|_| setup.call(2, false)));
    assert_eq!(setup.breakers.shared_snapshot(), None);
    assert!(!setup.call(1, true));
}

/// A key with a failure in its window is not evicted; without one it is.
#[test]
fn a_key_can_be_evicted_once_its_failures_have_left_the_window() {
    let window = Duration::from_secs(20);
    let open_when = OpenWhen::failure_rate(1.0, window, 10).unwrap();
    let setup = setup(1, |layer| layer.open_when(open_when));
    assert!(setup.call(1, false));
    assert!(setup.call(2, true));
    assert_eq!(
        (setup.state(1), setup.state(2)),
        (Some(State::Closed), None)
    );
    setup.clock_control.advance(window);
    assert!(setup.call(2, true));
    assert_eq!(
        (setup.state(1), setup.state(2)),
        (None, Some(State::Closed))
    );
}

/// A call that ends after its key was evicted does not count for another key.
#[test]
fn the_result_of_an_evicted_key_does_not_count() {
    let setup = setup(1, |layer| layer);
    let mut service = setup.layer.layer(service_fn(answer));
    let late = service.call(Request {
        upstream: 1,
        healthy: false,
    });
    assert!(setup.call(2, true));
    assert_eq!(setup.state(1), None);
    assert!(ended(late).is_err());
    assert_eq!(setup.breakers.snapshot(&2_u64).unwrap().failures, 0);
}

/// CB-13, for one key and for all keys.
#[test]
fn a_mode_is_set_for_one_key_or_for_all() {
    let setup = setup(3, |layer| layer);
    let [one, two] = [&1_u64, &2];
    assert!(
        setup.breakers.set_mode(one, Mode::ForcedOpen),
        "made for it"
    );
    assert!(!setup.call(1, true) && setup.call(2, true));

    setup.breakers.set_mode_of_all(Mode::Observing);
    for upstream in 1..=3 {
        assert!((0..5).all(|_| setup.call(upstream, false)));
        assert_eq!(setup.state(upstream), Some(State::Open));
    }
    assert_eq!(setup.breakers.snapshot(two).unwrap().let_through, 3);
    assert!(
        !setup.breakers.set_mode(&4_u64, Mode::ForcedOpen),
        "no room"
    );

    setup.breakers.set_mode_of_all(Mode::Automatic);
    for upstream in 1..=3 {
        assert!(setup.call(upstream, false) && setup.call(upstream, true));
    }
}

/// Forced breakers are not evicted, unless all are forced.
#[test]
fn a_forced_key_is_not_evicted() {
    let setup = setup(2, |layer| layer);
    assert!(setup.breakers.set_mode(&1_u64, Mode::Disabled));
    for other in 10..1_000 {
        assert!(setup.call(other, true));
    }
    assert_eq!(setup.state(1), Some(State::Disabled));
    setup.breakers.set_mode_of_all(Mode::ForcedOpen);
    for other in 10..1_000 {
        assert!(!setup.call(other, true));
        assert_eq!(setup.state(other), Some(State::ForcedOpen));
    }
}

#[test]
fn an_update_applies_to_present_and_later_keys() {
    let setup = setup(10, |layer| layer);
    assert!(setup.call(1, true));
    let open_when = OpenWhen::consecutive_failures(1).unwrap();
    setup
        .breakers
        .update(setup.breakers.options().open_when(open_when));
    for upstream in [1, 2] {
        assert!(setup.call(upstream, false));
        assert_eq!(setup.state(upstream), Some(State::Open));
    }
}

/// `poll_ready` comes before the request, which contains the key.
#[test]
fn readiness_forwards_to_the_service_even_if_a_breaker_is_open() {
    let setup = setup(1, |layer| layer);
    setup.open(1);
    let probe = towerkit_test::Probe::new();
    let counts = probe.counts();
    let by_upstream = |_: &Call<'_, towerkit_test::Action>| Some(1_u64);
    let layer = KeyedCircuitBreakerLayer::new(1, by_upstream).unwrap();
    layer.handle().set_mode(&1_u64, Mode::ForcedOpen);
    let mut service = layer.layer(probe);
    let error = super::setup::call(&mut service, towerkit_test::Action::Succeed).unwrap_err();
    assert!(error.rejection().is_some());
    assert_eq!((counts.polls() > 0, counts.started()), (true, 0));
}

/// In a policy stack with a single breaker for all keys.
#[test]
fn a_keyed_breaker_works_in_a_policy_stack() {
    let by_upstream: ByUpstream = |call| Some(call.request.upstream);
    let keyed = KeyedCircuitBreakerLayer::new(10, by_upstream).unwrap();
    let (handle, one) = (keyed.handle(), CircuitBreakerLayer::new());
    let all = one.handle();
    let service = stack((one, keyed))
        .plain("request")
        .layer(service_fn(answer));
    assert!(
        ended(service.oneshot(Request {
            upstream: 7,
            healthy: true
        }))
        .is_ok()
    );
    assert_eq!((all.snapshot().results, handle.keys()), (1, 1));
}

/// The keys of several threads evict each other, while the breakers of other keys stay open.
#[test]
fn open_keys_stay_open_while_threads_evict_each_others_keys() {
    let setup = setup(8, |layer| layer);
    for bad in 1..=4 {
        setup.open(bad);
    }
    let leaked = AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (setup, leaked) = (&setup, &leaked);
            scope.spawn(move || {
                for round in 0..5_000 {
                    assert!(setup.call(1_000 + thread * 10_000 + round % 100, true));
                    if setup.call(1 + round % 4, true) {
                        leaked.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(!leaked.load(Ordering::Relaxed));
    assert_eq!(setup.breakers.keys(), 8);
}

/// A breaker with a longer open duration for the next opening is not idle.
#[test]
fn a_key_with_backoff_is_not_evicted() {
    let time = OpenDuration::new(OPEN_FOR).unwrap();
    let setup = setup(1, |layer| {
        layer.open_duration(time.backoff(2.0, 4 * OPEN_FOR).unwrap())
    });
    setup.open(1);
    setup.clock_control.advance(OPEN_FOR);
    assert!(setup.call(1, true) && setup.call(2, true));
    assert_eq!(
        (setup.state(1), setup.state(2)),
        (Some(State::Closed), None)
    );
    setup.clock_control.advance(OPEN_FOR);
    assert!(setup.call(2, true));
    assert_eq!(setup.state(1), None);
}
